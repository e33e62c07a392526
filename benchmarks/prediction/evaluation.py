"""Everything that is said about one target, from stored measurements alone: every contender is fitted anew."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from prediction.contenders import RIVALS, our_guesses
from prediction.figures import TRUTHS, Guess, Row, group_figures, noise_figures, set_figures, worst_case
from prediction.held_out import NAMED, shape_name
from prediction.learnt import Learnt, as_observation
from predictor.latency import LatencyPredictor
from profiler.observed import predicted_ms

OURS = "ours"
DIGITS = 4
"""Significant digits of a result's numbers: the machine repeats fewer."""


@dataclass(frozen=True)
class Predictions:
    """Guesses of every contender for the same rows."""

    rows: Sequence[Row]
    guesses: Mapping[str, Sequence[Guess]]

    def of(self, places: Sequence[int]) -> "Predictions":
        """Some of the rows."""
        chosen = {name: [guesses[place] for place in places] for name, guesses in self.guesses.items()}
        return Predictions([self.rows[place] for place in places], chosen)


def predict_all(learnt: Learnt, rows: Sequence[Row], seed: int) -> Predictions:
    """Fit every contender to what the profile measured and ask it for the held-out rows."""
    asked = [as_observation(row) for row in rows]
    guesses: dict[str, Sequence[Guess]] = {OURS: our_guesses(LatencyPredictor.fit(learnt.rows, seed=seed), asked)}
    for name in RIVALS:
        guesses[name] = [Guess(float(value)) for value in RIVALS[name](learnt.rows, asked)]
    return Predictions(rows, guesses)


def figures_of(found: Predictions) -> dict[str, Any]:
    """By truth and contender; empty where there are no rows."""
    if not found.rows:
        return {}
    return {
        truth: {name: set_figures(found.rows, guesses, truth) for name, guesses in found.guesses.items()}
        for truth in TRUTHS
    }


def precision_figures(found: Predictions) -> dict[str, Any]:
    """All figures of one precision: random students, their parts and worst case, and each named shape."""
    random = found.of([place for place, row in enumerate(found.rows) if row.kind != NAMED])
    named = found.of([place for place, row in enumerate(found.rows) if row.kind == NAMED])
    ours = random.guesses[OURS]
    return {
        "noise_floor": noise_figures(found.rows),
        "random": figures_of(random),
        "parts": {truth: group_figures(random.rows, ours, truth) for truth in TRUTHS} if random.rows else {},
        "worst": {truth: worst_case(random.rows, ours, truth) for truth in TRUTHS} if random.rows else {},
        "named": figures_of(named),
        "shapes": [
            {
                "shape": shape_name(row.spec),
                "workload": row.workload.key,
                "predicted_ms": guess.predicted_ms,
                "undisturbed_ms": row.undisturbed_ms,
                "clocked_ms": row.clocked_ms,
            }
            for row, guess in zip(named.rows, named.guesses[OURS], strict=True)
        ],
    }


def by_precision(found: Predictions) -> dict[str, Any]:
    """`precision_figures` of each precision that was measured."""
    precisions = dict.fromkeys(row.workload.precision for row in found.rows)
    return {
        precision: precision_figures(
            found.of([place for place, row in enumerate(found.rows) if row.workload.precision == precision])
        )
        for precision in precisions
    }


def row_lines(found: Predictions) -> list[list[Any]]:
    """Each row with our guess: kind, key, workload, predicted, low, high, undisturbed, clocked ms, unsure %."""
    return [
        [
            row.kind,
            row.key,
            row.workload.key,
            *(guess.predicted_ms, guess.low_ms, guess.high_ms, row.undisturbed_ms, row.clocked_ms, row.unsure_percent),
        ]
        for row, guess in zip(found.rows, found.guesses[OURS], strict=True)
    ]


def disagreement(first: LatencyPredictor, second: LatencyPredictor, rows: Sequence[Row]) -> dict[str, Any]:
    """How far two predictors are apart on the same students, in per cent, and which way the second leans."""
    asked = [as_observation(row) for row in rows]
    ratios = predicted_ms(second, asked) / predicted_ms(first, asked)
    off = 100 * np.abs(ratios - 1)
    return {
        "students": len({row.key for row in rows}),
        "median_percent": float(np.median(off)),
        "p90_percent": float(np.percentile(off, 90)),
        "lean_percent": float(100 * (np.median(ratios) - 1)),
    }


def rounded(value: Any) -> Any:
    """The same with every float cut to `DIGITS` significant digits."""
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, Mapping):
        return {key: rounded(one) for key, one in value.items()}
    return [rounded(one) for one in value] if isinstance(value, (list, tuple)) else value
