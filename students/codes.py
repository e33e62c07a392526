"""Students as rows of integers: genes, what makes a row valid, how many there are, and random members in bulk."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from students.space_file import Choices

Codes = npt.NDArray[np.int64]

SHARED_GENES = ("layers", "hidden", "activation")
LAYER_GENES = ("heads", "qkv", "ffn")
TYPE_GENE = "type"


@dataclass(frozen=True)
class CodeSpace:
    """The integer side of a search space, without specs.

    A code is a row of gene values, each an index into that gene's choices: layers, hidden, activation, then heads, qkv
    and ffn, and the type where there are several, once if all layers are alike, else once a layer. Genes of layers
    beyond the depth are 0, and so are heads and qkv of a layer without attention, so that every member has exactly one
    code.
    """

    name: str
    choices: Choices

    @property
    def slots(self) -> int:
        """Groups of layer genes: 1 where all layers are alike, else the greatest depth."""
        return 1 if self.choices.alike else max(self.choices.layers)

    @property
    def genes(self) -> tuple[str, ...]:
        """The name of each column of a code."""
        if self.choices.alike:
            return SHARED_GENES + self.layer_genes
        return SHARED_GENES + tuple(f"layer{n}.{gene}" for n in range(self.slots) for gene in self.layer_genes)

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
        return (len(choices.layers), len(choices.hidden), len(choices.activation)) + layer * self.slots

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
    def _pair_shares(self) -> npt.NDArray[np.float64]:
        """Cumulative probability of each (heads, qkv) pair in one row a hidden width, invalid pairs left out."""
        weights = np.outer(np.ones(len(self.choices.heads)), np.array([rule.weight for rule in self.choices.qkv]))
        joint = np.where(self.qkv_widths > 0, weights, 0.0).reshape(len(self.choices.hidden), -1)
        shares: npt.NDArray[np.float64] = np.cumsum(joint / joint.sum(axis=1, keepdims=True), axis=1)
        return shares

    @cached_property
    def size(self) -> int:
        """The exact number of members."""
        pairs = [int(count) for count in (self.qkv_widths > 0).sum(axis=(1, 2))]
        powers: tuple[int, ...] = (1,) * len(self.choices.layers) if self.choices.alike else self.choices.layers
        ffn, types = len(self.choices.ffn), self.choices.types
        bodies: list[int] = []
        for count in pairs:
            any_layer = ffn * sum(count if form.attends else 1 for form in types)
            last = ffn * count * sum(form.attends for form in types) if self.choices.attention_last else any_layer
            bodies += [any_layer ** (power - 1) * last for power in powers]
        return len(self.choices.activation) * sum(bodies)

    def depths(self, codes: Codes) -> npt.NDArray[np.int64]:
        """Number of layers of each code, [n]."""
        return np.array(self.choices.layers, dtype=np.int64)[codes[:, 0]]

    def layer_view(self, codes: Codes) -> Codes:
        """[n, slots, layer genes] onto the layer genes."""
        return codes[:, len(SHARED_GENES) :].reshape(len(codes), self.slots, len(self.layer_genes))

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
        for gene, count in enumerate(self.cardinalities[: len(SHARED_GENES)]):
            codes[:, gene] = rng.integers(count, size=n)
        layers = self.layer_view(codes)
        layers[..., :2] = self.draw_pairs(np.repeat(codes[:, 1], self.slots), rng).reshape(n, self.slots, 2)
        layers[..., 2] = rng.integers(len(self.choices.ffn), size=(n, self.slots))
        if self.typed:
            layers[..., -1] = self.draw_types((n, self.slots), rng)
        same = rng.random(n) < self.choices.alike_share
        layers[same] = layers[same, :1]
        self._let_the_last_attend(codes, rng)
        layers[~self.used(codes)] = 0
        layers[~self.attends(codes), :2] = 0
        return codes

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
        layers = self.layer_view(codes)
        layers[rows, last, -1] = self.draw_types((len(rows),), rng, attending=True)
        layers[rows, last, :2] = self.draw_pairs(codes[rows, 1], rng)

    def valid(self, codes: Codes) -> npt.NDArray[np.bool_]:
        """Which rows are the code of a member, [n]."""
        codes = np.asarray(codes)
        inside: npt.NDArray[np.bool_] = np.all((codes >= 0) & (codes < np.array(self.cardinalities)), axis=1)
        checked = np.where(inside[:, None], codes, 0)
        layers = self.layer_view(checked)
        possible = np.where(self.attends(checked), self.widths(checked) > 0, ~layers[..., :2].any(axis=2))
        inside &= np.all(np.where(self.used(checked), possible, ~layers.any(axis=2)), axis=1)
        return inside & ~self.lacking(checked)

    def widths(self, codes: Codes) -> npt.NDArray[np.int64]:
        """Qkv width in each slot by its genes, [n, slots]; of no meaning for layers without attention."""
        layers = self.layer_view(codes)
        widths: npt.NDArray[np.int64] = self.qkv_widths[codes[:, 1, None], layers[..., 0], layers[..., 1]]
        return widths
