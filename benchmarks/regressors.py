"""What others predict latency with, beside ours: functions of rows to learn from and rows asked for, by name."""

from collections.abc import Callable

import numpy as np
import xgboost
from sklearn.ensemble import RandomForestRegressor
from sklearn.neural_network import MLPRegressor
from sklearn.preprocessing import StandardScaler

from predictor.physics import Matrix, Vector, fit_relative
from predictor.regressor import LatencyRegressor
from runs.registry import Registry

Regressor = Callable[[Matrix, Vector, Matrix], Vector]
"""(features [n, f] and latencies [n] in ms to learn from, features [m, f] asked for) → predicted ms [m]."""

OURS = "tailorbird"

REGRESSORS: Registry[Regressor] = Registry("regressor")
"""Settings are ours, in the style of what a name points to; none was tuned on the tables that it is compared on."""


def with_one(features: Matrix) -> Matrix:
    """A column of ones [n, 1 + f] before the features: what a call costs."""
    return np.column_stack([np.ones(len(features)), features])


def single_column(column: int) -> Regressor:
    """A non-negative line through one column alone, such as FLOPs, fitted to relative error."""

    def regress(fit: Matrix, latency_ms: Vector, asked: Matrix) -> Vector:
        law = fit_relative(with_one(fit[:, [column]]), latency_ms, np.ones(len(latency_ms)))
        predicted: Vector = with_one(asked[:, [column]]) @ law
        return predicted

    return regress


def _least_squares(fit: Matrix, latency_ms: Vector, asked: Matrix, weights: Vector) -> Vector:
    columns = with_one(fit)
    # Counts reach 1e10 beside ones; unit columns keep the solver's cut-off from dropping the small ones.
    scales = np.abs(columns).max(axis=0)
    scales[scales == 0] = 1.0
    solution = np.linalg.lstsq(columns / scales * weights[:, None], latency_ms * weights, rcond=None)[0]
    predicted: Vector = with_one(asked) / scales @ solution
    return predicted


@REGRESSORS.register(OURS)
def ours(fit: Matrix, latency_ms: Vector, asked: Matrix) -> Vector:
    """`LatencyRegressor` as it comes."""
    return LatencyRegressor().fit(fit, latency_ms).predict(asked)


@REGRESSORS.register("least squares")
def least_squares(fit: Matrix, latency_ms: Vector, asked: Matrix) -> Vector:
    """A constant and all columns, absolute error."""
    return _least_squares(fit, latency_ms, asked, np.ones(len(latency_ms)))


@REGRESSORS.register("least squares, 1/latency")
def relative_least_squares(fit: Matrix, latency_ms: Vector, asked: Matrix) -> Vector:
    """A constant and all columns, relative error."""
    return _least_squares(fit, latency_ms, asked, 1.0 / latency_ms)


@REGRESSORS.register("XGBoost")
def boosted_trees(fit: Matrix, latency_ms: Vector, asked: Matrix) -> Vector:
    """300 trees of depth 4 on the logarithm of the latency."""
    trees = xgboost.XGBRegressor(n_estimators=300, max_depth=4, learning_rate=0.05, subsample=0.8, n_jobs=1)
    trees.fit(fit, np.log(latency_ms))
    return np.exp(np.asarray(trees.predict(asked), dtype=np.float64))


@REGRESSORS.register("random forest")
def random_forest(fit: Matrix, latency_ms: Vector, asked: Matrix) -> Vector:
    """200 full-grown trees, as nn-Meter (Zhang et al. 2021) predicts its kernels; its own sizes differ by device."""
    forest = RandomForestRegressor(n_estimators=200, random_state=0, n_jobs=1).fit(fit, latency_ms)
    return np.asarray(forest.predict(asked), dtype=np.float64)


@REGRESSORS.register("MLP 400×3")
def perceptron(fit: Matrix, latency_ms: Vector, asked: Matrix) -> Vector:
    """Three hidden layers of 400, as HAT's predictor (Wang et al. 2020), here with standardised columns and latencies.

    Trained by Adam on squared error until 10 epochs in a row bring no progress.
    """
    scaler = StandardScaler().fit(fit)
    mean, deviation = latency_ms.mean(), latency_ms.std() or 1.0
    network = MLPRegressor(
        hidden_layer_sizes=(400, 400, 400), batch_size=min(128, len(fit)), max_iter=300, tol=1e-4, random_state=0
    )
    network.fit(scaler.transform(fit), (latency_ms - mean) / deviation)
    standardised: Vector = np.asarray(network.predict(scaler.transform(asked)), dtype=np.float64)
    return standardised * float(deviation) + float(mean)
