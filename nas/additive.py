"""What students lose by their parts: what every choice for one layer costs while the others stay as they are.

Parts that are replaced one at a time say, as a sum, what a student of many such parts is worth (docs/methods.md,
"Integer programming").
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from runs.errors import UserError
from students.codes import Codes
from students.space import SearchSpace

Skeleton = tuple[int, ...]
"""The genes of a whole student: depth, hidden width, activation and, where there is a choice, channels of the words."""

USED = 0.8
"""Share of a budget that the largest member of a skeleton must take for it to be of interest."""

Scorer = Callable[[Codes], tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]]
"""As in `nas.controllers.pool`."""

Figures = npt.NDArray[np.float64]

Part = tuple[int, str, int]
"""(slot, `attention` or `feed-forward`, width) of what is replaced; of attention, channels of all its queries."""


def require_additive(space: SearchSpace) -> None:
    """Raise `UserError` for a space of which no sum over layers can be made."""
    if space.typed or max(space.choices.sharing) > 1:
        raise UserError(
            f"the space {space.name} has layers of several types, or layers that share weights, and integer "
            "programming adds up what single layers lose: choose --space pruning, or one whose layers differ in heads "
            "and feed-forward alone."
        )


@dataclass(frozen=True, eq=False)
class LossTable:
    """Of one skeleton: the loss of its largest member, and what each choice adds to it, infinite where there is none.

    `attention` [slots, heads, queries] and `feed_forward` [slots, choices] by their genes.
    """

    whole: float
    attention: Figures
    feed_forward: Figures


def skeletons(space: SearchSpace) -> list[Skeleton]:
    """Every one that the space has."""
    counts = space.cardinalities[: len(space.common_genes)]
    every = np.stack(np.meshgrid(*map(np.arange, counts), indexing="ij"), axis=-1).reshape(-1, len(counts))
    codes = np.zeros((len(every), len(space.genes)), dtype=np.int64)
    codes[:, : len(counts)] = every
    # Some pair of heads and queries is possible with any width, or the space file would not have been read.
    pairs = [_pairs(space, int(hidden))[0] for hidden in every[:, 1]]
    space.layer_view(codes)[..., :2] = np.array(pairs)[:, None]
    space.layer_view(codes)[~space.used(codes)] = 0
    return [tuple(map(int, row)) for row in every[space.valid(codes)]]


def slots_of(space: SearchSpace, skeleton: Skeleton) -> int:
    """Groups of layer genes that a member of a skeleton has."""
    return 1 if space.choices.alike else space.choices.layers[skeleton[0]]


def largest(space: SearchSpace, skeleton: Skeleton) -> Codes:
    """The code [genes] of the skeleton's largest member: the most channels of queries and neurons in every layer."""
    return _throughout(space, skeleton, (*_pairs(space, skeleton[1])[-1], len(space.choices.ffn) - 1))


def smallest(space: SearchSpace, skeleton: Skeleton) -> Codes:
    """The code [genes] of its smallest member."""
    return _throughout(space, skeleton, (*_pairs(space, skeleton[1])[0], 0))


def _throughout(space: SearchSpace, skeleton: Skeleton, genes: tuple[int, int, int]) -> Codes:
    code = np.zeros((1, len(space.genes)), dtype=np.int64)
    code[0, : len(skeleton)] = skeleton
    space.layer_view(code)[0, : slots_of(space, skeleton)] = genes
    found: Codes = code[0]
    return found


def within_reach(space: SearchSpace, scorer: Scorer, budget_ms: float) -> list[Skeleton]:
    """Those skeletons of which a member may use up a budget in milliseconds: its smallest is no slower, and its largest
    no faster than what a search asks for at least."""
    every = skeletons(space)
    small, large = (np.array([end(space, one) for one in every]) for end in (smallest, largest))
    (least, _), (most, _) = scorer(small), scorer(large)
    return [
        one for one, low, high in zip(every, least, most, strict=True) if low <= budget_ms and high >= USED * budget_ms
    ]


def replaced(space: SearchSpace, skeleton: Skeleton, part: Part) -> Codes:
    """The largest member [genes] with one part made as wide as said."""
    slot, what, width = part
    code: Codes = largest(space, skeleton)[None]
    genes = space.layer_view(code)[0, slot]
    if what == "attention":
        genes[:2] = next(pair for pair in _pairs(space, skeleton[1]) if _width(space, skeleton[1], pair) == width)
    else:
        genes[2] = space.choices.ffn.index(width)
    found: Codes = code[0]
    return found


def parts_to_try(space: SearchSpace, skeleton: Skeleton, grid: int) -> list[Part]:
    """What to replace: in every slot at most `grid` widths of attention and of feed-forward each, the narrowest among
    them, evenly apart in the order of the choices. The widest of each is the largest member itself."""
    attention = sorted({_width(space, skeleton[1], pair) for pair in _pairs(space, skeleton[1])})
    found: list[Part] = []
    for slot in range(slots_of(space, skeleton)):
        for what, widths in (("attention", attention), ("feed-forward", list(space.choices.ffn))):
            narrower = widths[:-1]
            places = np.unique(np.linspace(0, len(narrower) - 1, min(grid, len(narrower))).round().astype(int))
            found += [(slot, what, int(narrower[place])) for place in places if narrower]
    return found


def loss_table(space: SearchSpace, skeleton: Skeleton, whole: float, losses: Mapping[Part, float]) -> LossTable:
    """The table of a skeleton, from its largest member's loss and those with one part replaced.

    Between widths that were tried it is linear in the width; a loss below the whole's counts as none: that is noise.
    """
    slots, hidden = slots_of(space, skeleton), skeleton[1]
    pairs = _pairs(space, hidden)
    attention = np.full((slots, len(space.choices.heads), len(space.choices.qkv)), np.inf)
    feed_forward = np.zeros((slots, len(space.choices.ffn)))
    widest = {"attention": _width(space, hidden, pairs[-1]), "feed-forward": space.choices.ffn[-1]}
    for slot in range(slots):
        curves = {}
        for what, width in widest.items():
            known = {part[2]: max(0.0, loss - whole) for part, loss in losses.items() if part[:2] == (slot, what)}
            known[width] = 0.0
            curves[what] = (sorted(known), [known[one] for one in sorted(known)])
        for heads, queries in pairs:
            width = _width(space, hidden, (heads, queries))
            attention[slot, heads, queries] = np.interp(width, *curves["attention"])
        feed_forward[slot] = np.interp(space.choices.ffn, *curves["feed-forward"])
    return LossTable(whole, attention, feed_forward)


@dataclass(frozen=True, eq=False)
class Additive:
    """The tables of some skeletons of a space."""

    space: SearchSpace
    tables: Mapping[Skeleton, LossTable]

    def __call__(self, codes: Codes) -> Figures:
        """Codes [n, genes] → the loss that the parts add up to [n], infinite for skeletons without a table."""
        found = np.full(len(codes), np.inf)
        keys = codes[:, : len(self.space.common_genes)]
        layers = self.space.layer_view(codes)
        for skeleton, table in self.tables.items():
            rows = np.flatnonzero((keys == skeleton).all(axis=1))
            slots = np.arange(len(table.feed_forward))
            heads, queries, ffn = (layers[rows][:, slots, gene] for gene in range(3))
            added = table.attention[slots, heads, queries] + table.feed_forward[slots, ffn]
            found[rows] = table.whole + added.sum(axis=1)
        return found

    def to_json(self) -> list[dict[str, Any]]:
        """Plain numbers; `additive_from_json` is the inverse. No choice is null."""
        return [
            {
                "skeleton": list(skeleton),
                "whole": table.whole,
                "attention": np.where(np.isfinite(table.attention), table.attention, -1.0).tolist(),
                "feed_forward": table.feed_forward.tolist(),
            }
            for skeleton, table in self.tables.items()
        ]


def additive_from_json(space: SearchSpace, value: Sequence[Mapping[str, Any]]) -> Additive:
    """Read what `Additive.to_json` gave."""
    tables = {}
    for one in value:
        attention = np.array(one["attention"])
        table = LossTable(one["whole"], np.where(attention < 0, np.inf, attention), np.array(one["feed_forward"]))
        tables[tuple(one["skeleton"])] = table
    return Additive(space, tables)


def _pairs(space: SearchSpace, hidden: int) -> list[tuple[int, int]]:
    """Possible genes of heads and queries, from the fewest channels of queries to the most, few heads first."""
    widths = space.qkv_widths[hidden]
    pairs = [(int(heads), int(queries)) for heads, queries in np.argwhere(widths > 0)]
    return sorted(pairs, key=lambda pair: (widths[pair], pair))


def _width(space: SearchSpace, hidden: int, pair: tuple[int, int]) -> int:
    return int(space.qkv_widths[hidden][pair])
