"""A scikit-learn regressor for latencies: a non-negative law, XGBoost on what it misses, conformal intervals."""

import math
from copy import copy
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.utils import Tags
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, check_non_negative, validate_data

from predictor import trees
from predictor.adaptation import best_move, left_out_error, moved, moved_residuals
from predictor.law import Growth, Law, law_of_columns, laws_of_products, left_out_law
from predictor.physics import Matrix, Vector, weighted_median

FEWEST_OWN, OWN_SHARE = 10, 0.75
"""From so many rows on a fit to the new device's rows alone is tried, and taken if its error is below this share."""


def _trust(misses: Vector, corrections: Vector, weights: Vector) -> float:
    """The share, from 0 to 1, of the trees' corrections that brings them nearest to what the law missed.

    Nearest in the mean of absolute differences, whose minimum is a weighted median of the ratios.
    """
    said = corrections != 0
    if not said.any():
        return 0.0
    ratios = misses[said] / corrections[said]
    return min(max(weighted_median(ratios, (weights * np.abs(corrections))[said]), 0.0), 1.0)


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
    terms : the first `terms` columns of X are the law's, all others the trees'. None: the law is one of those of a
        constant, the columns, their roots and products (`predictor.products`) that is best on held-out folds, and the
        trees take all columns.
    rounds, depth, learning_rate, shrinkage : XGBoost's trees, their depth, eta and lambda.
    folds : parts into which the rows are dealt, equal rows together.
    random_state : deals the folds.
    n_jobs : threads of a prediction; its result does not depend on them.
    """

    def __init__(
        self,
        *,
        terms: int | None = None,
        rounds: int = 150,
        depth: int = 3,
        learning_rate: float = 0.05,
        shrinkage: float = 5.0,
        folds: int = 10,
        random_state: int = 0,
        n_jobs: int = 1,
    ) -> None:
        self.terms = terms
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
        features, latency, weights, rows = self._checked(X, y, sample_weight, reset=True)
        learns = np.ones(len(rows), dtype=bool) if learn is None else np.asarray(learn, dtype=bool)[rows]
        labels = _labels(features) if groups is None else _labels(np.asarray(groups)[rows])
        folds = self._folds(labels)
        tried = [self._laws(features[~held_out], latency[~held_out], weights[~held_out]) for held_out in folds]
        chosen = left_out_law(tried, folds, features, latency, weights * learns)
        growth = Growth(self.rounds, self.depth, self.learning_rate, self.shrinkage)
        misses, corrections = np.zeros(len(rows)), np.zeros(len(rows))
        for held_out, laws in zip(folds, tried, strict=True):
            kept = ~held_out
            law = laws[chosen].grown(features[kept], latency[kept], weights[kept], learns[kept], growth)
            terms, splits = law.parts(features[held_out])
            linear = law.linear(terms)
            misses[held_out] = np.log(latency[held_out] / linear)
            corrections[held_out] = law.correction(linear, splits, self.n_jobs)
        law = self._laws(features, latency, weights)[chosen]
        self.law_ = law.grown(features, latency, weights, learns, growth)
        self.trust_ = _trust(misses[learns], corrections[learns], weights[learns])
        self.residuals_ = np.sort(np.abs(misses - self.trust_ * corrections)[learns])
        return self

    def adapt(self, X: npt.ArrayLike, y: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None) -> Self:
        """This regressor moved to a new device or workload by a few of its rows: X [n, f] ≥ 0 and y [n] > 0.

        The law's coefficients are shrunk towards one common scale of theirs, as strongly as serves rows left out, and
        what the trees add is kept where that serves them too. Where `terms` is None and the devices have so little in
        common that a fit to the new rows alone is clearly better on rows left out, that fit takes its place. Returns a
        new regressor; this one stays as it is.
        Raises ValueError for negative X, y ≤ 0, or rows on which the law is 0.
        """
        check_is_fitted(self)
        features, latency, weights, _ = self._checked(X, y, sample_weight, reset=False)
        law = self.law_
        terms, splits = law.parts(features)
        corrections = law.correction(law.linear(terms), splits, self.n_jobs)
        found = []
        for trust in dict.fromkeys((self.trust_, 0.0)):
            corrected = terms * np.exp(trust * corrections)[:, None]
            found.append((trust, corrected, best_move(law.coefficients, law.means, corrected, latency, weights)))
        trust, corrected, move = min(found, key=lambda one: left_out_error(one[2], weights))
        adapted = copy(self)
        adapted.law_ = law.scaled_to(moved(law.coefficients, corrected, latency, weights, move), terms)
        adapted.trust_ = trust
        adapted.residuals_ = moved_residuals(self.residuals_, move.left_out)
        if self.terms is None and len(latency) >= FEWEST_OWN:
            own: Self = clone(self).fit(X, y, sample_weight)
            if own.residuals_.mean() < OWN_SHARE * left_out_error(move, weights):
                return own
        return adapted

    def _checked(
        self, X: npt.ArrayLike, y: npt.ArrayLike, sample_weight: npt.ArrayLike | None, reset: bool
    ) -> tuple[Matrix, Vector, Vector, npt.NDArray[np.int64]]:
        """Features, latencies and weights of the rows that count, and which rows of X these are."""
        features, latency = validate_data(
            self, X, y, dtype=np.float64, y_numeric=True, ensure_min_samples=2 if reset else 1, reset=reset
        )
        check_non_negative(features, "LatencyRegressor.fit")
        latency = np.asarray(latency, dtype=np.float64)
        if (latency <= 0).any():
            raise ValueError("Negative or zero values in y: a latency is positive.")
        weights = _check_sample_weight(sample_weight, features, dtype=np.float64, ensure_non_negative=True)
        # A row of weight 0 must count as little as a row that is not there.
        rows = np.flatnonzero(weights > 0)
        return features[rows], latency[rows], weights[rows], rows

    def _laws(self, features: Matrix, latency: Vector, weights: Vector) -> list[Law]:
        """Laws without trees to choose from: one of leading columns, or several of products."""
        if self.terms is not None:
            return [law_of_columns(features[:, : self.terms], latency, weights)]
        return laws_of_products(features, latency, weights, self.random_state)

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
        terms, splits = self.law_.parts(features)
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
            "products": self.law_.products,
            "coefficients": self.law_.coefficients.tolist(),
            "means": self.law_.means.tolist(),
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
        products = value["products"]
        regressor.law_ = Law(
            np.array(value["coefficients"]),
            np.array(value["means"]),
            value["floor"],
            None if products is None else tuple(tuple((feature, power) for feature, power in one) for one in products),
            trees.from_json(value["trees"]),
        )
        return regressor

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.positive_only = True
        tags.target_tags.positive_only = True
        return tags
