"""Students as rows of integers: genes, what makes a row valid, how many there are, and random members in bulk."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from students.caps import Caps, cap_genes, capped_bodies
from students.space_file import AS_HIDDEN, Choices

Codes = npt.NDArray[np.int64]

COMMON_GENES = ("layers", "hidden", "activation")
OTHER_COMMON_GENES = ("embedding", "sharing")
"""Those of the whole student that few spaces have: where there is but one choice there is no gene."""
LAYER_GENES = ("heads", "qkv", "ffn")
TYPE_GENE = "type"


@dataclass(frozen=True)
class CodeSpace:
    """The integer side of a search space, without specs.

    A code is a row of gene values, each an index into that gene's choices: layers, hidden, activation, and embedding
    and sharing where there are several, then heads, qkv and ffn, and the type where there are several, once if all
    layers are alike, else once a layer. Genes of layers beyond the depth are 0, and so are heads and qkv of a layer
    without attention; layers with the same weights have the same genes; so that every member has exactly one code.
    """

    name: str
    choices: Choices
    caps: Caps | None = None
    """How far layers reach at each place, where that is not the same for all: of a space with one hidden width, whose
    layers are free to differ."""

    @property
    def slots(self) -> int:
        """Groups of layer genes: 1 where all layers are alike, else the greatest depth."""
        return 1 if self.choices.alike else max(self.choices.layers)

    @property
    def genes(self) -> tuple[str, ...]:
        """The name of each column of a code."""
        if self.choices.alike:
            return self.common_genes + self.layer_genes
        return self.common_genes + tuple(f"layer{n}.{gene}" for n in range(self.slots) for gene in self.layer_genes)

    @cached_property
    def common_genes(self) -> tuple[str, ...]:
        """The genes of the whole student, which come first."""
        return COMMON_GENES + tuple(name for name in OTHER_COMMON_GENES if len(getattr(self.choices, name)) > 1)

    def common(self, codes: Codes, name: str) -> npt.NDArray[np.int64]:
        """A gene of the whole student, [n]; 0 where the space has but one choice."""
        if name not in self.common_genes:
            return np.zeros(len(codes), dtype=np.int64)
        return codes[:, self.common_genes.index(name)]

    @property
    def layer_genes(self) -> tuple[str, ...]:
        """The genes of one layer; that of the type, where there is one, comes last."""
        return (*LAYER_GENES, TYPE_GENE) if self.typed else LAYER_GENES

    @property
    def typed(self) -> bool:
        """Whether layers may be of several types."""
        return len(self.choices.types) > 1

    @property
    def cardinalities(self) -> tuple[int, ...]:
        """How many choices each gene has."""
        choices = self.choices
        layer = (len(choices.heads), len(choices.qkv), len(choices.ffn), len(choices.types))[: len(self.layer_genes)]
        return tuple(len(getattr(choices, name)) for name in self.common_genes) + layer * self.slots

    @cached_property
    def qkv_widths(self) -> npt.NDArray[np.int64]:
        """Width of queries over all heads, [hidden, heads, qkv]; 0 where no such layer may be."""
        choices = self.choices
        shape = (len(choices.hidden), len(choices.heads), len(choices.qkv))
        widths = np.zeros(shape, dtype=np.int64)
        for place in np.ndindex(shape):
            hidden, heads, rule = choices.hidden[place[0]], choices.heads[place[1]], choices.qkv[place[2]]
            width = rule.width(hidden, heads)
            if width % heads == 0 and width <= choices.maximum_qkv:
                widths[place] = width
        return widths

    @cached_property
    def embedding_widths(self) -> npt.NDArray[np.int64]:
        """Channels of the words, [hidden, embedding]; 0 where they are not fewer than the hidden state's."""
        hidden, embedding = np.array(self.choices.hidden)[:, None], np.array(self.choices.embedding)
        return np.where(embedding == AS_HIDDEN, hidden, np.where(embedding < hidden, embedding, 0))

    @cached_property
    def _sharing_possible(self) -> npt.NDArray[np.bool_]:
        """Whether so many layers can share where there are so many, [layers, sharing]."""
        found: npt.NDArray[np.bool_] = np.array(self.choices.sharing) <= np.array(self.choices.layers)[:, None]
        return found

    def owners(self, codes: Codes) -> npt.NDArray[np.int64]:
        """The layer whose weights each layer has, [n, most layers]; of those beyond the depth, of no meaning."""
        groups = np.array(self.choices.sharing)[self.common(codes, "sharing")][:, None]
        places = np.arange(max(self.choices.layers))
        owners: npt.NDArray[np.int64] = places - places % groups
        return owners

    @property
    def _in_groups(self) -> bool:
        """Whether layers that may differ must not where they share weights."""
        return max(self.choices.sharing) > 1 and not self.choices.alike

    def _group(self, codes: Codes) -> None:
        """Give each layer the genes of the one whose weights it has, in place."""
        if self._in_groups:
            layers = self.layer_view(codes)
            layers[...] = np.take_along_axis(layers, self.owners(codes)[..., None], axis=1)

    @cached_property
    def _pair_shares(self) -> npt.NDArray[np.float64]:
        """Cumulative probability of each (heads, qkv) pair in one row a hidden width, invalid pairs left out."""
        weights = np.outer(np.ones(len(self.choices.heads)), np.array([rule.weight for rule in self.choices.qkv]))
        joint = np.where(self.qkv_widths > 0, weights, 0.0).reshape(len(self.choices.hidden), -1)
        shares: npt.NDArray[np.float64] = np.cumsum(joint / joint.sum(axis=1, keepdims=True), axis=1)
        return shares

    @cached_property
    def _cap_genes(self) -> npt.NDArray[np.int64]:
        assert self.caps is not None
        return cap_genes(self.caps, self.choices)

    def _capped(self, codes: Codes) -> npt.NDArray[np.int64]:
        """Gene of the heads and greatest one of the neurons in each slot, [n, slots, 2], by whose weights it has."""
        types = self.layer_view(codes)[..., -1] if self.typed else np.zeros((len(codes), self.slots), dtype=np.int64)
        owners = self.owners(codes)[:, : self.slots]
        found: npt.NDArray[np.int64] = self._cap_genes[codes[:, :1], owners, types]
        return found

    def _confine(self, codes: Codes, rng: np.random.Generator | None = None) -> None:
        """Give layers the heads of their places, in place, and such as have more neurons than theirs any number up to
        it, or without `rng` all of them."""
        if self.caps is None:
            return
        layers, capped = self.layer_view(codes), self._capped(codes)
        layers[..., 0] = np.where(self.attends(codes), capped[..., 0], layers[..., 0])
        most = capped[..., 1]
        fewer = most if rng is None else rng.integers(0, most + 1)
        layers[..., 2] = np.where(layers[..., 2] > most, fewer, layers[..., 2])
        self._group(codes)

    @cached_property
    def size(self) -> int:
        """The exact number of members."""
        if self.caps is not None:
            kinds = (self.qkv_widths > 0).sum(axis=(0, 2))
            stacks = capped_bodies(self._cap_genes, self.choices, kinds)
            return len(self.choices.activation) * int((self.embedding_widths > 0).sum()) * stacks
        pairs = [int(count) for count in (self.qkv_widths > 0).sum(axis=(1, 2))]
        groups = [
            1 if self.choices.alike else -(-depth // sharing)
            for depth in self.choices.layers
            for sharing in self.choices.sharing
            if sharing <= depth
        ]
        embeddings = [int(count) for count in (self.embedding_widths > 0).sum(axis=1)]
        ffn, types = len(self.choices.ffn), self.choices.types
        bodies: list[int] = []
        for count, words in zip(pairs, embeddings, strict=True):
            any_layer = ffn * sum(count if form.attends else 1 for form in types)
            last = ffn * count * sum(form.attends for form in types) if self.choices.attention_last else any_layer
            bodies += [words * any_layer ** (each - 1) * last for each in groups]
        return len(self.choices.activation) * sum(bodies)

    def depths(self, codes: Codes) -> npt.NDArray[np.int64]:
        """Number of layers of each code, [n]."""
        return np.array(self.choices.layers, dtype=np.int64)[codes[:, 0]]

    def layer_view(self, codes: Codes) -> Codes:
        """[n, slots, layer genes] onto the layer genes."""
        return codes[:, len(self.common_genes) :].reshape(len(codes), self.slots, len(self.layer_genes))

    @cached_property
    def _attending(self) -> npt.NDArray[np.bool_]:
        """Whether heads and queries are anything to each type, [types]."""
        return np.array([form.attends for form in self.choices.types])

    def attends(self, codes: Codes) -> npt.NDArray[np.bool_]:
        """Which slots have heads and queries, [n, slots]; an empty slot counts as one of the first type."""
        if not self.typed:
            return np.broadcast_to(self._attending[0], (len(codes), self.slots))
        found: npt.NDArray[np.bool_] = self._attending[self.layer_view(codes)[..., -1]]
        return found

    def used(self, codes: Codes) -> npt.NDArray[np.bool_]:
        """Which slots hold a layer, [n, slots]."""
        if self.choices.alike:
            return np.ones((len(codes), 1), dtype=np.bool_)
        used: npt.NDArray[np.bool_] = np.arange(self.slots) < self.depths(codes)[:, None]
        return used

    def draw_pairs(self, hidden: npt.NDArray[np.int64], rng: np.random.Generator) -> Codes:
        """A valid (heads, qkv) pair of genes for each hidden gene, [n, 2]."""
        drawn = rng.random(len(hidden))
        flat = np.zeros(len(hidden), dtype=np.int64)
        for gene, shares in enumerate(self._pair_shares):
            rows = np.flatnonzero(hidden == gene)
            flat[rows] = np.minimum(np.searchsorted(shares, drawn[rows], side="right"), len(shares) - 1)
        return np.stack(np.divmod(flat, len(self.choices.qkv)), axis=1)

    def sample(self, n: int, rng: np.random.Generator) -> Codes:
        """`n` members, [n, genes]: uniform in depth, widths and heads, by the file's weights in qkv rules.

        Layers are drawn apart from each other, except that a share of the members (`alike_share`) repeats its first
        layer, but for a last one that must have attention where that has none: independent draws alone would hardly
        ever meet the uniform students that people build by hand.
        """
        codes = np.zeros((n, len(self.genes)), dtype=np.int64)
        for gene, count in enumerate(self.cardinalities[: len(COMMON_GENES)]):
            codes[:, gene] = rng.integers(count, size=n)
        self._draw_other_common(codes, rng, np.ones(n, dtype=np.bool_))
        layers = self.layer_view(codes)
        layers[..., :2] = self.draw_pairs(np.repeat(codes[:, 1], self.slots), rng).reshape(n, self.slots, 2)
        layers[..., 2] = rng.integers(len(self.choices.ffn), size=(n, self.slots))
        if self.typed:
            layers[..., -1] = self.draw_types((n, self.slots), rng)
        same = rng.random(n) < self.choices.alike_share
        layers[same] = layers[same, :1]
        self._group(codes)
        self._let_the_last_attend(codes, rng)
        self._confine(codes, rng)
        layers[~self.used(codes)] = 0
        layers[~self.attends(codes), :2] = 0
        return codes

    def _draw_other_common(self, codes: Codes, rng: np.random.Generator, rows: npt.NDArray[np.bool_]) -> None:
        """Draw embedding and sharing, in place, of the marked rows [n] and of those that have none that is possible."""
        for name, possible in self._possible(codes).items():
            place = self.common_genes.index(name)
            drawn = np.argmax(rng.random(possible.shape) * possible, axis=1)
            again = rows | ~possible[np.arange(len(codes)), codes[:, place]]
            codes[:, place] = np.where(again, drawn, codes[:, place])

    def _possible(self, codes: Codes) -> dict[str, npt.NDArray[np.bool_]]:
        """Which values embedding and sharing may have by hidden width and depth, [n, values], where there are genes."""
        tables = {"embedding": (self.embedding_widths > 0)[codes[:, 1]], "sharing": self._sharing_possible[codes[:, 0]]}
        return {name: tables[name] for name in self.common_genes[len(COMMON_GENES) :]}

    def draw_types(self, shape: tuple[int, ...], rng: np.random.Generator, attending: bool = False) -> Codes:
        """Genes of types, by the file's weights, of all or of those with attention."""
        weights = np.array([form.weight * (form.attends or not attending) for form in self.choices.types])
        return rng.choice(len(weights), size=shape, p=weights / weights.sum())

    def lacking(self, codes: Codes) -> npt.NDArray[np.bool_]:
        """Whose last layer has no attention though it must, [n]."""
        if not self.choices.attention_last or not self.typed:
            return np.zeros(len(codes), dtype=np.bool_)
        last = self.used(codes).sum(axis=1) - 1
        found: npt.NDArray[np.bool_] = ~self.attends(codes)[np.arange(len(codes)), last]
        return found

    def _let_the_last_attend(self, codes: Codes, rng: np.random.Generator) -> None:
        """Draw another last layer, in place, where it lacks attention."""
        rows = np.flatnonzero(self.lacking(codes))
        if not len(rows):
            return
        last = self.used(codes)[rows].sum(axis=1) - 1
        if self._in_groups:
            last = self.owners(codes[rows])[np.arange(len(rows)), last]
        layers = self.layer_view(codes)
        layers[rows, last, -1] = self.draw_types((len(rows),), rng, attending=True)
        layers[rows, last, :2] = self.draw_pairs(codes[rows, 1], rng)
        self._group(codes)

    def valid(self, codes: Codes) -> npt.NDArray[np.bool_]:
        """Which rows are the code of a member, [n]."""
        codes = np.asarray(codes)
        inside: npt.NDArray[np.bool_] = np.all((codes >= 0) & (codes < np.array(self.cardinalities)), axis=1)
        checked = np.where(inside[:, None], codes, 0)
        layers = self.layer_view(checked)
        possible = np.where(self.attends(checked), self.widths(checked) > 0, ~layers[..., :2].any(axis=2))
        inside &= np.all(np.where(self.used(checked), possible, ~layers.any(axis=2)), axis=1)
        for name, allowed in self._possible(checked).items():
            inside &= allowed[np.arange(len(checked)), self.common(checked, name)]
        if self._in_groups:
            first = np.take_along_axis(layers, self.owners(checked)[..., None], axis=1)
            inside &= np.all((layers == first).all(axis=2) | ~self.used(checked), axis=1)
        if self.caps is not None:
            capped = self._capped(checked)
            kept = (layers[..., 0] == capped[..., 0]) | ~self.attends(checked)
            kept &= layers[..., 2] <= capped[..., 1]
            inside &= np.all(kept | ~self.used(checked), axis=1)
        return inside & ~self.lacking(checked)

    def widths(self, codes: Codes) -> npt.NDArray[np.int64]:
        """Qkv width in each slot by its genes, [n, slots], of which narrow bottlenecks have a part; of no meaning for
        layers without attention."""
        layers = self.layer_view(codes)
        widths: npt.NDArray[np.int64] = self.qkv_widths[codes[:, 1, None], layers[..., 0], layers[..., 1]]
        return widths
