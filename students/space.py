"""The set of students a search may choose from: read from YAML, turned into codes and back, and varied."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from runs.errors import UserError
from runs.registry import Registry, unknown_name
from students.codes import COMMON_GENES, Codes
from students.moves import VariedSpace
from students.space_blocks import Surroundings, space_blocks
from students.space_file import AS_HIDDEN, read_space_file
from students.spec import BottleneckLayer, Head, Layer, StudentSpec, TransformerLayer, layer_text
from students.supernet import enveloping
from students.table import BlockTable


@dataclass(frozen=True)
class SearchSpace(VariedSpace):
    """A space over students.

    Predictors, proxies and controllers work on its codes (`CodeSpace`); specs are made of the chosen few.
    """

    @classmethod
    def from_yaml(cls, path: Path) -> "SearchSpace":
        """The space in a file, named after it; `UserError` for whatever is wrong with it."""
        return cls(path.stem, read_space_file(path))

    def table(
        self,
        codes: Codes,
        *,
        vocabulary_size: int,
        maximum_positions: int,
        token_types: int,
        head: Head,
        once: bool = False,
    ) -> BlockTable:
        """Many codes at once, each as its blocks; says the same as `BlockTable.from_specs(self.decode(codes, …))`.

        With `once`, of layers that share their weights the first alone: what is stored. Tables of one space have one
        list of blocks, whatever the codes.
        """
        around = Surroundings(vocabulary_size, maximum_positions, token_types, head)
        return space_blocks(self, around).table(self, codes, once)

    def query_widths(self, codes: Codes) -> Codes:
        """Channels of all queries in each slot, [n, slots]; of no meaning for layers without attention."""
        parts = np.array([form.part if form.narrow else 1 for form in self.choices.types])
        types = self.layer_view(codes)[..., -1] if self.typed else np.zeros((1, 1), dtype=np.int64)
        widths: Codes = self.widths(codes) // parts[types]
        return widths

    def decode(
        self, codes: Codes, *, vocabulary_size: int, maximum_positions: int, token_types: int, head: Head
    ) -> list[StudentSpec]:
        """The spec of each code; a row that is no member raises `UserError`."""
        codes = np.asarray(codes, dtype=np.int64)
        if not self.valid(codes).all():
            raise UserError(f"row {int(np.argmin(self.valid(codes)))} is not a code of the space {self.name}.")
        specs = []
        widths, layers, depths = self.widths(codes), self.layer_view(codes), self.depths(codes)
        embeddings = self.embedding_widths[codes[:, 1], self.common(codes, "embedding")]
        owners = self.owners(codes)
        for row, code in enumerate(codes):
            hidden, activation = self.choices.hidden[code[1]], self.choices.activation[code[2]]
            slots = range(self.slots) if self.choices.alike else range(int(depths[row]))
            shapes = [
                self.choices.types[layers[row, slot, -1] if self.typed else 0].layer(
                    hidden,
                    self.choices.heads[layers[row, slot, 0]],
                    int(widths[row, slot]),
                    self.choices.ffn[layers[row, slot, 2]],
                    activation,
                )
                for slot in slots
            ]
            stack = tuple(shapes * int(depths[row]) if self.choices.alike else shapes)
            rest = (vocabulary_size, maximum_positions, token_types, head)
            sharing = tuple(owners[row, : len(stack)].tolist())
            specs.append(StudentSpec(int(embeddings[row]), hidden, stack, *rest, sharing=sharing))
        return specs

    def supernet(self, *, vocabulary_size: int, maximum_positions: int, token_types: int, head: Head) -> StudentSpec:
        """What every member is a part of (`students.supernet`): at each place one layer of each type, as large as any,
        those with attention first.

        Where all layers are transformers it is the smallest such spec; it need not be a member itself. Raises
        `UserError` for a space that `require_one_embedding` refuses.
        """
        self.require_one_embedding()
        hidden, heads = max(self.choices.hidden), max(self.choices.heads)
        head_width = int((self.qkv_widths // np.array(self.choices.heads)[:, None]).max())
        rest = (heads, heads * head_width, max(self.choices.ffn), self.choices.activation[0])
        layers: dict[str, list[Layer]] = {}
        for form in sorted(self.choices.types, key=lambda form: not form.attends):
            layers.setdefault(form.type, []).append(form.layer(hidden, *rest))
        place = tuple(enveloping(of_type) for of_type in layers.values())
        stack = place * max(self.choices.layers)
        words = int(self.embedding_widths.max())
        return StudentSpec(words, hidden, stack, vocabulary_size, maximum_positions, token_types, head)

    @property
    def narrow_words(self) -> bool:
        """Whether every member has words with fewer channels than its layers, and so a projection after them."""
        return AS_HIDDEN not in self.choices.embedding

    def require_one_embedding(self) -> None:
        """Raise `UserError` where some members have a projection after their words and others none, which no supernet
        holds."""
        if not self.narrow_words and len(self.choices.embedding) > 1:
            raise UserError(
                f"the space {self.name} has words as wide as the hidden state and narrower ones, which no supernet "
                "holds: choose a method without a supernet, or a space with one of the two."
            )

    def encode(self, specs: Sequence[StudentSpec]) -> Codes:
        """The code of each spec, [n, genes]; a spec outside the space raises `UserError` that says why."""
        codes = np.zeros((len(specs), len(self.genes)), dtype=np.int64)
        for row, spec in enumerate(specs):
            codes[row] = self._encode_one(spec)
        return codes

    def _encode_one(self, spec: StudentSpec) -> Codes:
        shapes = spec.layers
        first = shapes[0]
        self._require(len({layer.activation for layer in spec.layers}) == 1, "its activations differ between layers")
        if self.choices.alike:
            self._require(all(layer == first for layer in spec.layers), "its layers differ")
        hidden = self._index("hidden", spec.hidden_width)
        code = [self._index("layers", len(spec.layers)), hidden, self._index("activation", first.activation)]
        code += self._other_common(spec, hidden)
        for layer in shapes[: self.slots]:
            code += self._layer_code(layer, hidden)
        row = np.array(code + [0] * (len(self.genes) - len(code)), dtype=np.int64)
        self._require(not self.lacking(row[None])[0], "its last layer has no attention")
        self._require(self.valid(row[None])[0], "it reaches further than its supernet has grown")
        return row

    def _other_common(self, spec: StudentSpec, hidden: int) -> list[int]:
        """The genes of embedding and sharing, where there are any."""
        embeddings = np.flatnonzero(self.embedding_widths[hidden] == spec.embedding_width)
        self._require(len(embeddings) > 0, f"its embedding has {spec.embedding_width} channels")
        owners = [
            tuple(layer - layer % count for layer in range(len(spec.layers))) if count <= len(spec.layers) else None
            for count in self.choices.sharing
        ]
        self._require(spec.owners in owners, "its layers share weights in another way")
        found = {"embedding": int(embeddings[0]), "sharing": owners.index(spec.owners)}
        return [found[name] for name in self.common_genes[len(COMMON_GENES) :]]

    def _layer_code(self, layer: Layer, hidden: int) -> list[int]:
        heads = 0
        rules: Sequence[int] = [0]
        widths = self.qkv_widths[hidden]
        if isinstance(layer, TransformerLayer | BottleneckLayer):
            heads = self._index("heads", layer.heads)
            parts = {form.part if form.narrow else 1 for form in self.choices.types if form.type == layer.type}
            rules = [n for n, width in enumerate(widths[heads]) if width in [part * layer.qkv_width for part in parts]]
            self._require(len(rules) > 0, f"it has a qkv width of {layer.qkv_width} in {layer.heads} heads")
        ffn = self._index("ffn", layer.ffn_width)
        for number, form in enumerate(self.choices.types):
            for rule in rules if form.type == layer.type else ():
                width = int(widths[heads, rule])
                numbers = (self.choices.heads[heads], width, layer.ffn_width, layer.activation)
                if form.layer(self.choices.hidden[hidden], *numbers) == layer:
                    return [heads, rule, ffn, *((number,) if self.typed else ())]
        raise self._outside(f"it has a layer that is a {layer_text(layer)}")

    def _require(self, condition: bool, why_not: str) -> None:
        if not condition:
            raise self._outside(why_not)

    def _outside(self, why: str) -> UserError:
        return UserError(f"this student is not in the space {self.name}: {why}.")

    def _index(self, gene: str, value: int | str) -> int:
        values: tuple[int | str, ...] = getattr(self.choices, gene)
        self._require(value in values, f"its {gene} is {value}, not one of {', '.join(map(str, values))}")
        return values.index(value)


SPACES: Registry[Path] = Registry("space")
"""The spaces that come along: name → file."""
for _file in sorted((Path(__file__).parent / "spaces").glob("*.yaml")):
    SPACES.register(_file.stem)(_file)


def space(name_or_path: str | Path) -> SearchSpace:
    """A space that comes along, by name, or one of your own, by the path of its YAML file; else a `UserError`."""
    text = str(name_or_path)
    if text in SPACES:
        return SearchSpace.from_yaml(SPACES[text])
    if text.endswith((".yaml", ".yml")) or Path(text).is_file():
        return SearchSpace.from_yaml(Path(text))
    raise unknown_name("space", text, [*SPACES, "the path of a YAML file"])
