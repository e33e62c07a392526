"""A scikit-learn regressor for latencies: a non-negative law, XGBoost on what it misses, conformal intervals."""

import math
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import xgboost
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.preprocessing import PolynomialFeatures
from sklearn.utils import Tags
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, check_non_negative, validate_data

from predictor import trees
from predictor.physics import Matrix, Vector, fit_relative, spread

OUTLIER = 4.0
"""Log residuals are clipped at this many standard deviations before trees see them."""


FLOOR = 0.01
"""Of the smallest latency seen: what the law says where all its terms are 0."""


@dataclass(frozen=True)
class Law:
    """A fitted law and the trees that correct it; `floor` keeps the law positive where all its terms are 0."""

    coefficients: Vector
    floor: float
    booster: xgboost.Booster

    def linear(self, terms: Matrix) -> Vector:
        """The law without correction [n]."""
        return _linear(terms, self.coefficients, self.floor)

    def correction(self, linear: Vector, splits: Matrix, threads: int) -> Vector:
        """What the trees would add to the logarithm of the law [n]; they also split on the law's own value."""
        return trees.sum_of_leaves(self.booster, _with_law(linear, splits), threads)


def _linear(terms: Matrix, coefficients: Vector, floor: float) -> Vector:
    linear: Vector = np.maximum(terms @ coefficients, floor)
    return linear


def _with_law(linear: Vector, splits: Matrix) -> Matrix:
    return np.column_stack([np.log(linear), splits])


def _trust(misses: Vector, corrections: Vector, weights: Vector) -> float:
    """The share, from 0 to 1, of the trees' corrections that brings them nearest to what the law missed."""
    limit = OUTLIER * spread(misses, weights)
    power = float((weights * corrections**2).sum())
    if power == 0:
        return 0.0
    return min(max(float((weights * corrections * np.clip(misses, -limit, limit)).sum()) / power, 0.0), 1.0)


def _labels(rows: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """A number [n] for each row of a table or list, the same for equal rows, whatever their order."""
    labels: npt.NDArray[np.int64] = np.unique(rows, axis=0, return_inverse=True)[1].reshape(-1)
    return labels


class LatencyRegressor(RegressorMixin, BaseEstimator):
    """Positive targets with multiplicative noise, from 50 rows on.

    The law is non-negative and linear, fitted to relative error; boosted trees then learn the logarithm of what it
    misses, and count for as much as they help on held-out folds, since on noisy tables they learn little but noise.
    Quantiles of the absolute held-out log residuals make the interval (the cross-conformal idea of Vovk 2015, with one
    final model instead of one a fold, so coverage is approximate).

    Parameters
    ----------
    terms : the first `terms` columns of X are the law's, all others the trees'. None: the law takes a constant, all
        columns and their products up to `degree`, and the trees take all columns.
    degree : of the products where `terms` is None.
    rounds, depth, learning_rate, shrinkage : XGBoost's trees, their depth, eta and lambda.
    folds : parts into which the rows are dealt, equal rows together.
    random_state : deals the folds.
    n_jobs : threads of a prediction; its result does not depend on them.
    """

    def __init__(
        self,
        *,
        terms: int | None = None,
        degree: int = 2,
        rounds: int = 150,
        depth: int = 3,
        learning_rate: float = 0.05,
        shrinkage: float = 5.0,
        folds: int = 10,
        random_state: int = 0,
        n_jobs: int = 1,
    ) -> None:
        self.terms = terms
        self.degree = degree
        self.rounds = rounds
        self.depth = depth
        self.learning_rate = learning_rate
        self.shrinkage = shrinkage
        self.folds = folds
        self.random_state = random_state
        self.n_jobs = n_jobs

    def fit(
        self,
        X: npt.ArrayLike,
        y: npt.ArrayLike,
        sample_weight: npt.ArrayLike | None = None,
        *,
        groups: npt.ArrayLike | None = None,
        learn: npt.ArrayLike | None = None,
    ) -> Self:
        """Fit X [n, f] ≥ 0 to y [n] > 0.

        Rows of one of `groups` [n] are never split between folds; `learn` [n] marks the rows that trees and interval
        learn from (None: all) while the law is fitted to every row. Raises ValueError for negative X or y ≤ 0.
        """
        features, latency = validate_data(self, X, y, dtype=np.float64, y_numeric=True, ensure_min_samples=2)
        check_non_negative(features, "LatencyRegressor.fit")
        latency = np.asarray(latency, dtype=np.float64)
        if (latency <= 0).any():
            raise ValueError("Negative or zero values in y: a latency is positive.")
        weights = _check_sample_weight(sample_weight, features, dtype=np.float64, ensure_non_negative=True)
        learns = np.ones(len(latency), dtype=bool) if learn is None else np.asarray(learn, dtype=bool)

        # A row of weight 0 must count as little as a row that is not there.
        rows = np.flatnonzero(weights > 0)
        features, latency, weights, learns = features[rows], latency[rows], weights[rows], learns[rows]
        labels = _labels(features) if groups is None else _labels(np.asarray(groups)[rows])
        self.law_ = self._fit_law(features, latency, weights, learns)
        misses, corrections = np.zeros(len(rows)), np.zeros(len(rows))
        for held_out in self._folds(labels):
            kept = ~held_out
            law = self._fit_law(features[kept], latency[kept], weights[kept], learns[kept])
            terms, splits = self._parts(features[held_out])
            linear = law.linear(terms)
            misses[held_out] = np.log(latency[held_out] / linear)
            corrections[held_out] = law.correction(linear, splits, self.n_jobs)
        self.trust_ = _trust(misses[learns], corrections[learns], weights[learns])
        self.residuals_ = np.sort(np.abs(misses - self.trust_ * corrections)[learns])
        return self

    def _parts(self, features: Matrix) -> tuple[Matrix, Matrix]:
        """Columns of the law and columns of the trees."""
        if self.terms is not None:
            return features[:, : self.terms], features[:, self.terms :]
        return PolynomialFeatures(self.degree).fit_transform(features), features

    def _fit_law(self, features: Matrix, latency: Vector, weights: Vector, learns: npt.NDArray[np.bool_]) -> Law:
        terms, splits = self._parts(features)
        coefficients = fit_relative(terms, latency, weights)
        floor = float(latency.min()) * FLOOR
        linear = _linear(terms, coefficients, floor)
        misses = np.log(latency / linear)[learns]
        limit = OUTLIER * spread(misses, weights[learns])
        booster = trees.grow(
            _with_law(linear, splits)[learns],
            np.clip(misses, -limit, limit),
            weights[learns],
            rounds=self.rounds,
            depth=self.depth,
            rate=self.learning_rate,
            shrinkage=self.shrinkage,
        )
        return Law(coefficients, floor, booster)

    def _folds(self, labels: npt.NDArray[np.int64]) -> list[npt.NDArray[np.bool_]]:
        """Masks of the rows held out, whole groups at a time."""
        groups = int(labels.max()) + 1
        dealt = np.random.default_rng(self.random_state).permutation(groups)[labels]
        count = min(self.folds, groups)
        return [dealt % count == fold for fold in range(count)] if count > 1 else []

    def predict(self, X: npt.ArrayLike) -> Vector:
        """Predicted y [n] of X [n, f]."""
        check_is_fitted(self)
        features = validate_data(self, X, dtype=np.float64, reset=False, ensure_non_negative=True)
        terms, splits = self._parts(features)
        linear = self.law_.linear(terms)
        predicted: Vector = linear * np.exp(self.trust_ * self.law_.correction(linear, splits, self.n_jobs))
        return predicted

    def margin(self, coverage: float = 0.9) -> float:
        """How far, as a factor ≥ 1, the interval reaches either way from a prediction.

        Where too few rows were seen for the coverage, the largest residual stands in.
        """
        check_is_fitted(self)
        if not 0 < coverage < 1:
            raise ValueError(f"coverage is {coverage}: it must lie between 0 and 1.")
        count = len(self.residuals_)
        rank = min(math.ceil((count + 1) * coverage), count)
        return math.exp(float(self.residuals_[rank - 1]))

    def predict_interval(self, X: npt.ArrayLike, coverage: float = 0.9) -> tuple[Vector, Vector]:
        """Low and high ends [n] between which about `coverage` of new rows fall."""
        margin = self.margin(coverage)
        predicted = self.predict(X)
        return predicted / margin, predicted * margin

    def to_json(self) -> dict[str, Any]:
        """Everything fitted and every parameter, as JSON; `from_json` is the inverse, equal to the bit."""
        check_is_fitted(self)
        return {
            "parameters": self.get_params(),
            "columns": self.n_features_in_,
            "coefficients": self.law_.coefficients.tolist(),
            "floor": self.law_.floor,
            "trust": self.trust_,
            "residuals": self.residuals_.tolist(),
            "trees": trees.to_json(self.law_.booster),
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """Read `to_json`'s form."""
        regressor = cls(**value["parameters"])
        regressor.n_features_in_ = value["columns"]
        regressor.trust_ = value["trust"]
        regressor.residuals_ = np.array(value["residuals"])
        regressor.law_ = Law(np.array(value["coefficients"]), value["floor"], trees.from_json(value["trees"]))
        return regressor

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.positive_only = True
        tags.target_tags.positive_only = True
        return tags
