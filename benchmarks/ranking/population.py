"""Students of one latency band: members of several spaces, as different in depth as the band has them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import numpy as np

from nas.controllers.pool import Problem, draw_pool
from nas.scoring import Scoring
from runs.errors import UserError
from students.leading import require_within
from students.spec import StudentSpec
from students.supernet import depth_map, places_of

WINDOW = 0.95
"""Share of the budget from which on the upper end of a student's predicted latency lies in the band."""

POOL = 20_000


@dataclass(frozen=True)
class Ranked:
    """One student that is ranked, with the space it was drawn from and the milliseconds it should take."""

    space: str
    spec: StudentSpec
    predicted_ms: float

    def to_json(self) -> dict[str, Any]:
        """Plain numbers; `ranked_from_json` is the inverse."""
        return {"space": self.space, "spec": self.spec.to_json(), "predicted_ms": self.predicted_ms}


def ranked_from_json(value: Mapping[str, Any]) -> Ranked:
    """Read `Ranked.to_json`'s form."""
    return Ranked(value["space"], StudentSpec.from_json(value["spec"]), value["predicted_ms"])


def draw(
    scorings: Mapping[str, Scoring], budget_ms: float, count: int, whole: StudentSpec | None, seed: int = 0
) -> list[Ranked]:
    """`count` students, the spaces in turn and in each of them the depths in turn; parts of `whole`, if it is given.

    Raises `UserError` where the band has fewer.
    """
    rng = np.random.default_rng(seed)
    lines = [_of_space(name, scoring, budget_ms, count, whole, rng) for name, scoring in scorings.items()]
    found: dict[StudentSpec, Ranked] = {}
    for one in (one for turn in zip_longest(*lines) for one in turn if one is not None):
        found.setdefault(one.spec, one)
    if len(found) < count:
        raise UserError(
            f"only {len(found)} students of {', '.join(scorings)} were found between {WINDOW * budget_ms:g} and "
            f"{budget_ms:g} ms: ask for fewer, or give another budget."
        )
    return list(found.values())[:count]


def _of_space(
    name: str,
    scoring: Scoring,
    budget_ms: float,
    count: int,
    whole: StudentSpec | None,
    rng: np.random.Generator,
) -> Sequence[Ranked]:
    """Members of one space in the band, one of each depth and again."""
    problem = Problem(scoring.members.space, scoring, budget_ms, POOL, window=WINDOW)
    pool = draw_pool(problem, count, [], rng)
    # Where too few lie in the band the pool has faster ones too.
    inside = np.flatnonzero(scoring(pool.codes)[1] >= WINDOW * budget_ms)
    chosen = rng.permutation(inside)[: 40 * count]
    specs = scoring.members.specs(pool.codes[chosen])
    by_depth: dict[int, list[Ranked]] = {}
    for spec, ms in zip(specs, pool.latency_ms[chosen], strict=True):
        if whole is None or _is_part(spec, whole):
            by_depth.setdefault(len(spec.layers), []).append(Ranked(name, spec, round(float(ms), 4)))
    turns = zip_longest(*(by_depth[depth] for depth in sorted(by_depth)))
    return [one for turn in turns for one in turn if one is not None]


def _is_part(spec: StudentSpec, whole: StudentSpec) -> bool:
    places = places_of(whole)
    if len(spec.layers) > places:
        return False
    try:
        require_within(spec, whole, depth_map(len(spec.layers), places), "the supernet")
    except UserError:
        return False
    return True
