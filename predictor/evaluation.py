"""How wrong a predictor is on students it has not seen, beside what one would do without it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import kendalltau, spearmanr

from devices.workload import Workload
from predictor.features import law_terms, used_blocks
from predictor.latency import LatencyPredictor
from predictor.observation import Observation, Rows, by_circumstances, per_workload
from predictor.physics import Matrix, Vector, fit_relative
from runs.registry import Registry
from students.table import BlockTable

PREDICTOR = "predictor"
"""The name our own predictor has beside the baselines."""


@dataclass(frozen=True)
class Errors:
    """Relative errors in per cent of the measured latency, and rank correlations (0 where there is nothing to rank).

    `rmspe` is the root of the mean square, `bias` the median of predicted over measured minus one.
    """

    mape_percent: float
    rmspe_percent: float
    bias_percent: float
    worst_percent: float
    within_5_percent: float
    within_10_percent: float
    spearman: float
    kendall: float


def errors(predicted: npt.ArrayLike, measured: npt.ArrayLike) -> Errors:
    """Compare milliseconds [n] with milliseconds [n]; raises ValueError for none, or for unequal numbers of them."""
    guess, truth = np.asarray(predicted, dtype=np.float64), np.asarray(measured, dtype=np.float64)
    if guess.shape != truth.shape or not truth.size:
        raise ValueError(f"{guess.shape} predictions cannot be compared with {truth.shape} measurements.")
    relative = guess / truth - 1
    off = np.abs(relative)
    ranked = min(len(set(guess.tolist())), len(set(truth.tolist()))) > 1
    return Errors(
        mape_percent=float(100 * off.mean()),
        rmspe_percent=float(100 * np.sqrt((off**2).mean())),
        bias_percent=float(100 * np.median(relative)),
        worst_percent=float(100 * off.max()),
        within_5_percent=float(100 * (off <= 0.05).mean()),
        within_10_percent=float(100 * (off <= 0.10).mean()),
        spearman=float(spearmanr(guess, truth).statistic) if ranked else 0.0,
        kendall=float(kendalltau(guess, truth).statistic) if ranked else 0.0,
    )


def flops_and_one(table: BlockTable, workload: Workload) -> Matrix:
    """Millions of FLOPs, and 1 for what a call costs [n, 2]."""
    flops = np.zeros(len(table.blocks))
    for number in used_blocks(table):
        flops[number] = table.blocks[number].flops(workload.batch_size, workload.sequence_length)
    return np.column_stack([table.total(flops) / 1e6, np.ones(len(table))])


@dataclass(frozen=True)
class Baseline:
    """A non-negative law and nothing else: its columns [n, f] of a table, and the rows that it is fitted to."""

    describe: Callable[[BlockTable, Workload], Matrix]
    fitted_to: Callable[[Rows], npt.NDArray[np.bool_]]

    def predict(self, fit: Rows, asked: Rows) -> Vector:
        """Milliseconds [n] of the rows asked for."""
        used = self.fitted_to(fit)
        latency = fit.latency_ms[used]
        law = fit_relative(per_workload(fit, self.describe)[used], latency, np.ones(len(latency)))
        return per_workload(asked, self.describe) @ law


BASELINES: Registry[Baseline] = Registry("baseline")
BASELINES.register("flops_only")(Baseline(flops_and_one, lambda rows: rows.whole))
"""A line through the FLOPs of the same whole students."""
BASELINES.register("sum_of_blocks")(Baseline(law_terms, lambda rows: ~rows.whole))
"""The predictor's own terms, fitted to parts alone and added up without a look at whole students."""


def evaluate(
    predictor: LatencyPredictor, fit_observations: Sequence[Observation], check_observations: Sequence[Observation]
) -> dict[str, Errors]:
    """Errors on `check_observations` by name: `predictor`, then each baseline fitted to `fit_observations`.

    A baseline is left out where there is nothing that it could be fitted to.
    """
    check, fit = by_circumstances(check_observations), by_circumstances(fit_observations)
    measured = np.concatenate([rows.latency_ms for rows in check.values()])
    ours = [per_workload(rows, lambda *row: predictor.predict(*row)[:, None])[:, 0] for rows in check.values()]
    found = {PREDICTOR: errors(np.concatenate(ours), measured)}
    for name in BASELINES:
        baseline = BASELINES[name]
        if all(pair in fit and baseline.fitted_to(fit[pair]).any() for pair in check):
            guesses = [baseline.predict(fit[pair], rows) for pair, rows in check.items()]
            found[name] = errors(np.concatenate(guesses), measured)
    return found
