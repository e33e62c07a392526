"""A known predictor moved to new circumstances by few samples, beside learning from those samples alone."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from prediction.contenders import RIVALS
from prediction.figures import Row, Vector
from prediction.learnt import as_observation
from predictor.evaluation import errors
from predictor.latency import LatencyPredictor
from predictor.observation import Observation
from profiler.observed import predicted_ms
from runs.errors import UserError

SAMPLES = (5, 10, 20, 50)
DRAWS = 5
"""Times that so many samples are drawn; figures are means over them."""

ADAPTED, SCRATCH = "ours, adapted", "ours, from scratch"
LEARNERS = ("least squares, 1/latency, our columns", "XGBoost, our columns")
"""Rivals that learn from the samples alone."""

JUDGED = 20
"""Samples at which adaptation is held against the full profile."""


@dataclass(frozen=True)
class Move:
    """A base that is known, whole students measured where it is not, and held-out rows from there."""

    name: str
    known: Sequence[Observation]
    pool: Sequence[Observation]
    asked: Sequence[Row]


def spread_out(pool: Sequence[Observation], count: int, seed: int) -> list[Observation]:
    """`count` observations of different students, well spread over the size of the work."""
    rng = np.random.default_rng([seed, count])
    order = sorted(pool, key=lambda one: sum(block.flops(1, one.workload.sequence_length) for block in one.blocks))
    parts = np.array_split(np.arange(len(order)), count)
    return [order[int(rng.choice(part))] for part in parts if len(part)]


Error = Callable[[Sequence[Observation]], float]
"""MAPE on the held-out rows after learning from some samples; a `UserError` where they are too few."""


def _summary(error: Error, samples: Sequence[Sequence[Observation]]) -> dict[str, float] | None:
    """Over all draws; None where so few samples are not enough."""
    try:
        found = [error(drawn) for drawn in samples]
    except UserError:
        return None
    return {"mape_percent": float(np.mean(found)), "worst_draw_percent": max(found)}


def move_figures(move: Move, full_mape_percent: float, seed: int) -> dict[str, Any]:
    """MAPE by number of samples, adapted and from scratch, on held-out rows.

    `over_full` is the MAPE over that of everything the profile measured; None stands where nothing could be fitted.
    """
    base = LatencyPredictor.fit(move.known, seed=seed)
    asked = [as_observation(row) for row in move.asked]

    measured = np.array([row.undisturbed_ms for row in move.asked])

    def mape(predicted: Vector) -> float:
        return errors(predicted, measured).mape_percent

    def of_rival(name: str) -> Error:
        return lambda drawn: mape(RIVALS[name](drawn, asked))

    ways: dict[str, Error] = {
        ADAPTED: lambda drawn: mape(predicted_ms(base.adapt(drawn), asked)),
        SCRATCH: lambda drawn: mape(predicted_ms(LatencyPredictor.fit(drawn, seed=seed), asked)),
        **{f"{name}, from scratch": of_rival(name) for name in LEARNERS},
    }
    counts = [count for count in SAMPLES if count <= len(move.pool)]
    drawn = {count: [spread_out(move.pool, count, seed + draw) for draw in range(DRAWS)] for count in counts}
    found = {name: {str(count): _summary(error, drawn[count]) for count in counts} for name, error in ways.items()}
    judged = found[ADAPTED].get(str(JUDGED))
    return {
        "students": len({row.key for row in move.asked}),
        "rows": len(move.asked),
        "full_mape_percent": full_mape_percent,
        "ways": found,
        "over_full": judged["mape_percent"] / full_mape_percent if judged else None,
    }
