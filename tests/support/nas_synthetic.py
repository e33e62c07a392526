"""A device and a proxy made of formulas, so that searches can be tested without measuring or training."""

import numpy as np
import numpy.typing as npt

from nas.controllers import Problem
from nas.controllers.pool import Codes, Milliseconds, Scorer
from students.space import SearchSpace, space
from students.spec import Head

MEMBERS = {"vocabulary_size": 1000, "maximum_positions": 64, "token_types": 2, "head": Head()}


def scorer_of(members: SearchSpace) -> Scorer:
    """Half a millisecond and what the weights of the layers cost, 5 % uncertain."""

    def score(codes: Codes) -> tuple[Milliseconds, Milliseconds]:
        table = members.table(codes, **MEMBERS)
        hidden = table.hidden_width[:, None]
        work = (4 * hidden * table.qkv_width + 2 * hidden * table.ffn_width).sum(axis=1)
        latency = 0.5 + work / 4e5
        return latency, latency * 1.05

    return score


def quality(members: SearchSpace, codes: Codes) -> npt.NDArray[np.float64]:
    """Wide and gelu is good, depth a little, as students sliced from a teacher are; no noise."""
    table = members.table(codes, **MEMBERS)
    depth = table.present.sum(axis=1)
    return table.hidden_width / 384 + 0.03 * depth - 0.15 * (table.activation[:, 0] != 0)


def problem(budget_ms: float = 6.0, name: str = "hybrid", **changes: float) -> Problem:
    members = space(name)
    settings = {"pool_size": 2000, **changes}
    return Problem(members, scorer_of(members), budget_ms, **settings)  # type: ignore[arg-type]
