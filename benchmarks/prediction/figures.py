"""How wrong predictions are: errors of whole sets and of their parts, coverage, and the worst case with its spec."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from devices.workload import Workload
from predictor.evaluation import errors
from students.spec import StudentSpec

Vector = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Row:
    """One held-out student in one workload, as it was measured.

    `undisturbed_ms` is what a predictor predicts (`devices.undisturbed`), `clocked_ms` the median of the processes'
    medians, neighbours and all; `unsure_percent` is how unsure the former is.
    """

    kind: str
    key: str
    spec: StudentSpec
    workload: Workload
    undisturbed_ms: float
    clocked_ms: float
    unsure_percent: float


@dataclass(frozen=True)
class Guess:
    """Predicted milliseconds of a row, and the ends of the 90 % interval where there is one."""

    predicted_ms: float
    low_ms: float | None = None
    high_ms: float | None = None


TRUTHS: dict[str, Callable[[Row], float]] = {
    "undisturbed": lambda row: row.undisturbed_ms,
    "clocked": lambda row: row.clocked_ms,
}
"""What a prediction is held against: the machine alone, and the machine as it was, medians with all that went on."""

JUDGED = "undisturbed"

THIRDS = {"16–50 tokens": (0, 50), "51–161 tokens": (51, 161), "162–512 tokens": (162, 10**9)}
"""Thirds of the lengths in ratio."""


def _third(row: Row) -> str:
    return next(name for name, (low, high) in THIRDS.items() if low <= row.workload.sequence_length <= high)


GROUPINGS: dict[str, Callable[[Row], str]] = {
    "kind": lambda row: row.kind,
    "threads": lambda row: f"{row.workload.threads} thread{'s' if row.workload.threads > 1 else ''}",
    "length": _third,
}


def set_figures(rows: Sequence[Row], guesses: Sequence[Guess], truth: str) -> dict[str, Any]:
    """Errors in per cent over some rows, at least one; the share inside the 90 % interval where all have one."""
    predicted = np.array([guess.predicted_ms for guess in guesses])
    measured = np.array([TRUTHS[truth](row) for row in rows])
    found: dict[str, Any] = {
        "students": len({row.key for row in rows}),
        "rows": len(rows),
        **asdict(errors(predicted, measured)),
    }
    ends = [(guess.low_ms, guess.high_ms) for guess in guesses if guess.low_ms is not None]
    if len(ends) == len(rows):
        low, high = np.array(ends, dtype=np.float64).T
        found["interval_90_holds_percent"] = float(100 * ((low <= measured) & (measured <= high)).mean())
        found["interval_width_percent"] = float(100 * np.median((high - low) / predicted))
    return found


def worst_case(rows: Sequence[Row], guesses: Sequence[Guess], truth: str) -> dict[str, Any]:
    """The row that is furthest from its prediction, with its spec."""

    def off(pair: tuple[Row, Guess]) -> float:
        return abs(pair[1].predicted_ms / TRUTHS[truth](pair[0]) - 1)

    row, guess = max(zip(rows, guesses, strict=True), key=off)
    return {
        "error_percent": 100 * (guess.predicted_ms / TRUTHS[truth](row) - 1),
        "kind": row.kind,
        "predicted_ms": guess.predicted_ms,
        "measured_ms": TRUTHS[truth](row),
        "unsure_percent": row.unsure_percent,
        "workload": row.workload.to_json(),
        "spec": row.spec.to_json(),
    }


def group_figures(rows: Sequence[Row], guesses: Sequence[Guess], truth: str) -> dict[str, dict[str, Any]]:
    """`set_figures` of each part of each grouping, by "grouping: part"."""
    found = {}
    for grouping, part_of in GROUPINGS.items():
        for part in sorted({part_of(row) for row in rows}):
            chosen = [place for place, row in enumerate(rows) if part_of(row) == part]
            found[f"{grouping}: {part}"] = set_figures(
                [rows[place] for place in chosen], [guesses[place] for place in chosen], truth
            )
    return found


def noise_figures(rows: Sequence[Row]) -> dict[str, float]:
    """How unsure the measurements are: half of the rows are below the first number."""
    noise = np.array([row.unsure_percent for row in rows])
    return {"median_percent": float(np.median(noise)), "p90_percent": float(np.percentile(noise, 90))}
