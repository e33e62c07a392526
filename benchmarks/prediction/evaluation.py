"""Everything that is said about one target, from stored measurements alone: every contender is fitted anew."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from devices.disturbance import Disturbance
from prediction.contenders import RIVALS, our_guesses
from prediction.figures import JUDGED, Guess, Row, group_figures, noise_figures, set_figures, worst_case
from prediction.held_out import NAMED, shape_name
from prediction.learnt import Learnt, as_observation
from predictor.latency import LatencyPredictor
from predictor.observation import Circumstances, circumstances
from profiler.observed import predicted_ms

OURS = "ours"
DIGITS = 4
"""Significant digits of a result's numbers: the machine repeats fewer."""


FOLDS = 5
"""Of the held-out students, for the question what a profile could not have helped."""


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


def informed_guesses(learnt: Learnt, rows: Sequence[Row], seed: int) -> list[Guess]:
    """Ours where it has learnt the other held-out students as well: a fifth of them is asked of the rest.

    What it then still misses is noise of this very measuring and what the law cannot say, and no fault of the profile.
    """
    observed = [as_observation(row) for row in rows]
    keys = sorted({row.key for row in rows})
    fold_of = dict(zip(keys, np.random.default_rng(seed).permutation(len(keys)) % FOLDS, strict=True))
    found: dict[int, Guess] = {}
    for fold in range(FOLDS):
        asked = [place for place, row in enumerate(rows) if fold_of[row.key] == fold]
        known = [one for row, one in zip(rows, observed, strict=True) if fold_of[row.key] != fold]
        predictor = LatencyPredictor.fit([*learnt.rows, *known], seed=seed)
        found |= dict(zip(asked, our_guesses(predictor, [observed[place] for place in asked]), strict=True))
    return [found[place] for place in range(len(rows))]


def informed_figures(learnt: Learnt, rows: Sequence[Row], seed: int) -> dict[str, Any]:
    """By precision, errors of `informed_guesses` over random students."""
    guesses = informed_guesses(learnt, rows, seed)
    found: dict[str, Any] = {}
    for precision in dict.fromkeys(row.workload.precision for row in rows):
        mine = [n for n, row in enumerate(rows) if row.workload.precision == precision and row.kind != NAMED]
        if mine:
            found[precision] = set_figures([rows[n] for n in mine], [guesses[n] for n in mine], JUDGED)
    return found


def clocked(guess: Guess, disturbance: Disturbance) -> Guess:
    """The same guess for a machine that is disturbed as usual."""
    alone = guess.predicted_ms
    if guess.low_ms is None or guess.high_ms is None:
        return Guess(alone * disturbance.usual)
    return Guess(alone * disturbance.usual, *disturbance.interval(guess.low_ms, alone, guess.high_ms))


def by_truth(found: Predictions, disturbances: Mapping[Circumstances, Disturbance]) -> dict[str, Predictions]:
    """Everyone's guesses, made for the machine alone, for each truth: a clock shows what usually disturbs as well."""
    usual = [disturbances[circumstances(row.workload)] for row in found.rows]
    guesses = {
        name: [clocked(guess, disturbance) for guess, disturbance in zip(made, usual, strict=True)]
        for name, made in found.guesses.items()
    }
    return {"undisturbed": found, "clocked": Predictions(found.rows, guesses)}


Views = Mapping[str, Predictions]
"""Truth → the same rows, with guesses of that truth."""


def figures_of(views: Views) -> dict[str, Any]:
    """By truth and contender; empty where there are no rows."""
    return {
        truth: {name: set_figures(found.rows, guesses, truth) for name, guesses in found.guesses.items()}
        for truth, found in views.items()
        if found.rows
    }


def precision_figures(views: Views) -> dict[str, Any]:
    """All figures of one precision: random students, their parts and worst case, and each named shape."""
    rows = views[JUDGED].rows

    def only(is_named: bool) -> dict[str, Predictions]:
        places = [place for place, row in enumerate(rows) if (row.kind == NAMED) == is_named]
        return {truth: found.of(places) for truth, found in views.items()}

    random, named = only(False), only(True)
    ours = {truth: (found.rows, found.guesses[OURS]) for truth, found in random.items() if found.rows}
    return {
        "noise_floor": noise_figures(rows),
        "random": figures_of(random),
        "parts": {truth: group_figures(*mine, truth) for truth, mine in ours.items()},
        "worst": {truth: worst_case(*mine, truth) for truth, mine in ours.items()},
        "named": figures_of(named),
        "shapes": [
            {
                "shape": shape_name(row.spec),
                "workload": row.workload.key,
                "predicted_ms": guess.predicted_ms,
                "undisturbed_ms": row.undisturbed_ms,
                "clocked_ms": row.clocked_ms,
            }
            for row, guess in zip(named[JUDGED].rows, named[JUDGED].guesses[OURS], strict=True)
        ],
    }


def by_precision(views: Views) -> dict[str, Any]:
    """`precision_figures` of each precision that was measured."""
    precisions = [row.workload.precision for row in views[JUDGED].rows]
    chosen = {
        precision: [place for place, one in enumerate(precisions) if one == precision]
        for precision in dict.fromkeys(precisions)
    }
    return {
        precision: precision_figures({truth: found.of(places) for truth, found in views.items()})
        for precision, places in chosen.items()
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
