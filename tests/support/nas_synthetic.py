"""A device and a proxy made of formulas, so that searches can be tested without measuring or training."""

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from nas.additive import Additive, LossTable, skeletons, slots_of
from nas.controllers import Problem
from nas.controllers.pool import Codes, Milliseconds, Scorer
from students.space import SearchSpace, space
from students.spec import Block, EmbeddingBlock, Head, LayerBlock, TransformerLayer

MEMBERS = {"vocabulary_size": 1000, "maximum_positions": 64, "token_types": 2, "head": Head()}


def _numbers(block: Block) -> tuple[float, float, float, float]:
    """Of a layer its work, 1, whether its activation is gelu, and 0; of an embedding its width; of a head zeros."""
    if isinstance(block, LayerBlock) and isinstance(block.layer, TransformerLayer):
        layer = block.layer
        work = block.hidden_width * (4 * layer.qkv_width + 2 * layer.ffn_width)
        return work, 1, layer.activation == "gelu", 0
    return 0, 0, 0, block.hidden_width * isinstance(block, EmbeddingBlock)


@lru_cache
def _facts(members: SearchSpace) -> npt.NDArray[np.float64]:
    """`_numbers` of each block of a space."""
    blocks = members.table(members.enumerate_extremes()[:1], **MEMBERS).blocks  # type: ignore[arg-type]
    return np.array([_numbers(block) for block in blocks])


def scorer_of(members: SearchSpace) -> Scorer:
    """Half a millisecond and what the weights of the layers cost, 5 % uncertain."""

    def score(codes: Codes) -> tuple[Milliseconds, Milliseconds]:
        work = members.table(codes, **MEMBERS).total(_facts(members)[:, 0])
        latency = 0.5 + work / 4e5
        return latency, latency * 1.05

    return score


def quality(members: SearchSpace, codes: Codes) -> npt.NDArray[np.float64]:
    """Wide and gelu is good, depth a little, as students sliced from a teacher are; no noise."""
    _, depth, gelu, hidden_width = members.table(codes, **MEMBERS).total(_facts(members)).T
    return hidden_width / 384 + 0.03 * depth - 0.15 * (gelu == 0)


@lru_cache
def additive_of(members: SearchSpace, some: int = 3) -> Additive:
    """What parts lose in some skeletons: the less is left, the more, and early layers lose more."""
    tables = {}
    every = skeletons(members)
    for number in np.unique(np.linspace(0, len(every) - 1, some).round().astype(int)):
        slots, widths = slots_of(members, every[number]), members.qkv_widths[every[number][1]]
        early = 1.0 / np.arange(1, slots + 1)
        lost = np.where(widths > 0, 0.3 * (1 - widths / widths.max()) ** 2, np.inf)
        ffn = np.array(members.choices.ffn)
        feed_forward = early[:, None] * 0.4 * (1 - ffn / ffn.max()) ** 2
        tables[every[number]] = LossTable(0.5 / slots, early[:, None, None] * lost, feed_forward)
    return Additive(members, tables)


def problem(
    budget_ms: float = 6.0, name: str = "hybrid", members: SearchSpace | None = None, **changes: float
) -> Problem:
    members = members or space(name)
    settings = {"pool_size": 2000, **changes}
    return Problem(members, scorer_of(members), budget_ms, additive=additive_of(members), **settings)  # type: ignore[arg-type]
