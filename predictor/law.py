"""A non-negative law and the trees that correct it, as they are fitted, moved to another device, and evaluated."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import xgboost

from predictor import trees
from predictor.physics import Matrix, Vector, fit_relative, spread
from predictor.products import Product, expand, product_laws, singles

OUTLIER = 4.0
"""Log residuals are clipped at this many standard deviations before trees see them."""

FLOOR = 0.01
"""Of the smallest latency seen: what the law says where all its terms are 0."""

MEDIAN_LIKE = 0.5
"""Of standard deviations: tables of others hold more outliers than our own stopwatch leaves, and few repeats."""

LAW_ROWS = 4000
"""Products are found on no more rows than these, drawn at random: dozens of coefficients need no more."""

LAW_COLUMN = 0
"""Of the trees' columns: the logarithm of the law."""


@dataclass(frozen=True)
class Growth:
    """XGBoost's number of trees, their depth, eta and lambda."""

    rounds: int
    depth: int
    rate: float
    shrinkage: float


@dataclass(frozen=True)
class Law:
    """A fitted law and the trees that correct it; `floor` keeps the law positive where all its terms are 0.

    Its terms, whose averages over the rows it was fitted to are `means`, are `products` of the features; where that is
    None they are the leading columns, one a coefficient. Before trees are grown, `booster` holds none.
    """

    coefficients: Vector
    means: Vector
    floor: float
    products: tuple[Product, ...] | None = None
    booster: xgboost.Booster = field(default_factory=xgboost.Booster)

    def parts(self, features: Matrix) -> tuple[Matrix, Matrix]:
        """Terms of the law, and columns of the trees."""
        if self.products is not None:
            return expand(features, self.products), features
        count = len(self.coefficients)
        return features[:, :count], features[:, count:]

    def linear(self, terms: Matrix) -> Vector:
        """The law without correction [n]."""
        return _linear(terms, self.coefficients, self.floor)

    def correction(self, linear: Vector, splits: Matrix, threads: int) -> Vector:
        """What the trees would add to the logarithm of the law [n]; they also split on the law's own value."""
        return trees.sum_of_leaves(self.booster, _with_law(linear, splits), threads)

    def scaled_to(self, coefficients: Vector, terms: Matrix) -> "Law":
        """The law with other coefficients, whose trees see its value on the scale that they grew on."""
        scale = float(np.exp(np.median(np.log(_linear(terms, coefficients, self.floor) / self.linear(terms)))))
        booster = trees.shifted(self.booster, LAW_COLUMN, math.log(scale))
        return replace(self, coefficients=coefficients, floor=self.floor * scale, booster=booster)

    def grown(
        self, features: Matrix, latency: Vector, weights: Vector, learns: npt.NDArray[np.bool_], growth: Growth
    ) -> "Law":
        """The law with trees for what it misses on the rows that `learns` [n] marks."""
        terms, splits = self.parts(features)
        linear = self.linear(terms)
        misses = np.log(latency / linear)[learns]
        limit = OUTLIER * spread(misses, weights[learns])
        booster = trees.grow(
            _with_law(linear, splits)[learns],
            np.clip(misses, -limit, limit),
            weights[learns],
            rounds=growth.rounds,
            depth=growth.depth,
            rate=growth.rate,
            shrinkage=growth.shrinkage,
        )
        return replace(self, booster=booster)


def _linear(terms: Matrix, coefficients: Vector, floor: float) -> Vector:
    linear: Vector = np.maximum(terms @ coefficients, floor)
    return linear


def _with_law(linear: Vector, splits: Matrix) -> Matrix:
    return np.column_stack([np.log(linear), splits])


def law_of_columns(terms: Matrix, latency: Vector, weights: Vector) -> Law:
    """The law of given terms [n, f], without trees."""
    return Law(fit_relative(terms, latency, weights), terms.mean(axis=0), float(latency.min()) * FLOOR)


def laws_of_products(features: Matrix, latency: Vector, weights: Vector, seed: int) -> list[Law]:
    """Laws, without trees, of what `product_laws` finds; `seed` draws the rows where there are more than it needs."""
    rows = np.random.default_rng(seed).permutation(len(latency))[:LAW_ROWS]
    laws = []
    for products, coefficients in product_laws(features[rows], latency[rows], weights[rows], MEDIAN_LIKE):
        # Features that a law does without stay in reach of `LatencyRegressor.adapt`.
        spare = [product for product in singles(features.shape[1]) if product not in products]
        offered = (*products, *spare)
        means = expand(features[rows], offered).mean(axis=0)
        padded = np.append(coefficients, np.zeros(len(spare)))
        laws.append(Law(padded, means, float(latency.min()) * FLOOR, offered))
    return laws


def left_out_law(
    tried: Sequence[Sequence[Law]],
    folds: Sequence[npt.NDArray[np.bool_]],
    features: Matrix,
    latency: Vector,
    weights: Vector,
) -> int:
    """Which of each fold's laws, all in one order, is best on its rows held out: the mean absolute relative error."""

    def missed(number: int) -> float:
        total = 0.0
        for held_out, laws in zip(folds, tried, strict=True):
            predicted = laws[number].linear(laws[number].parts(features[held_out])[0])
            total += float((weights[held_out] * np.abs(predicted / latency[held_out] - 1)).sum())
        return total

    return min(range(len(tried[0])), key=missed) if tried else 0
