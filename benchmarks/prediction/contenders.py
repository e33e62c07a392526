"""Who predicts: ours, and what others do, each learning from the same measured rows."""

from collections.abc import Callable, Sequence

import numpy as np
from regressors import OURS, REGRESSORS, Regressor

from prediction.architecture import architecture
from prediction.figures import Guess, Vector
from predictor.evaluation import BASELINES, Baseline
from predictor.features import feature_table
from predictor.latency import LatencyPredictor
from predictor.observation import Observation, Rows, by_circumstances, circumstances, per_workload
from profiler.observed import predicted_ends, predicted_ms
from runs.registry import Registry

Contender = Callable[[Sequence[Observation], Sequence[Observation]], Vector]
"""(what was measured for the profile, what is asked for) → predicted ms [n] of the latter."""

RIVALS: Registry[Contender] = Registry("contender")
"""What ours is compared with; a law of its own for each threads and precision, as ours has."""


def _each_circumstance(learn: Callable[[Rows, Rows], Vector]) -> Contender:
    """A contender that learns anew for every pair of threads and precision."""

    def predict(fit: Sequence[Observation], asked: Sequence[Observation]) -> Vector:
        known = by_circumstances(fit)
        predicted = np.zeros(len(asked))
        for pair, rows in by_circumstances(asked).items():
            places = [place for place, one in enumerate(asked) if circumstances(one.workload) == pair]
            predicted[places] = learn(known[pair], rows)
        return predicted

    return predict


def _from_baseline(baseline: Baseline) -> Contender:
    return _each_circumstance(baseline.predict)


def _from_regressor(regressor: Regressor) -> Contender:
    """A regressor over the very columns that ours learns from, and over all rows, stacks of blocks among them."""

    def learn(fit: Rows, asked: Rows) -> Vector:
        known, wanted = (per_workload(rows, feature_table) for rows in (fit, asked))
        return regressor(known, fit.latency_ms, wanted)

    return _each_circumstance(learn)


def _from_architecture(regressor: Regressor) -> Contender:
    """A regressor over the numbers of the architecture, in logarithms, and over whole students: it knows no parts."""

    def learn(fit: Rows, asked: Rows) -> Vector:
        known, wanted = np.log1p(architecture(fit)[fit.whole]), np.log1p(architecture(asked))
        predicted: Vector = np.exp(regressor(known, np.log(fit.latency_ms[fit.whole]), wanted))
        return predicted

    return _each_circumstance(learn)


ARCHITECTURAL = ("random forest", "MLP 400×3")
"""Who may learn from architectures as well, as in the papers, which have one space and one length: over a range of
latencies of one to ten thousand, logarithms give them a better chance."""

for _name in BASELINES:
    RIVALS.register(_name.replace("_", " "))(_from_baseline(BASELINES[_name]))
for _name in REGRESSORS:
    if _name != OURS:
        RIVALS.register(f"{_name}, our columns")(_from_regressor(REGRESSORS[_name]))
for _name in ARCHITECTURAL:
    RIVALS.register(f"{_name}, logarithms of the architecture")(_from_architecture(REGRESSORS[_name]))


def our_guesses(predictor: LatencyPredictor, asked: Sequence[Observation]) -> list[Guess]:
    """Ours with its 90 % interval, in the order asked."""
    found = zip(predicted_ms(predictor, asked), predicted_ends(predictor, asked), strict=True)
    return [Guess(float(predicted), float(low), float(high)) for predicted, (low, high) in found]
