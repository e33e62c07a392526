"""Columns that a latency may be a sum of: features, their roots, and their products, found among all there are."""

from collections.abc import Sequence
from itertools import combinations_with_replacement

import numpy as np

from predictor.physics import Matrix, Vector, fit_relative

Product = tuple[tuple[int, float], ...]
"""Features by number with their powers; empty for the constant."""

Terms = tuple[tuple[Product, ...], Vector]
"""Products, and a coefficient for each."""

MOST_FEATURES = 40
"""Of more, those that latency goes along with best are multiplied with one another: pairs grow with the square."""

FIRST_STEPS = 2

ROOT = 0.5


def expand(features: Matrix, products: Sequence[Product]) -> Matrix:
    """The value [n, products] of every product, from features [n, f] ≥ 0."""
    roots = np.sqrt(features)
    columns = np.ones((len(features), len(products)))
    for at, product in enumerate(products):
        for feature, power in product:
            columns[:, at] *= roots[:, feature] if power == ROOT else features[:, feature] ** power
    return columns


def singles(count: int) -> list[Product]:
    """The constant, and each of `count` features by itself."""
    return [(), *(((feature, 1.0),) for feature in range(count))]


def _product(features: Sequence[int]) -> Product:
    return tuple((feature, float(features.count(feature))) for feature in sorted(set(features)))


def _leading(features: Matrix, latency: Vector) -> list[int]:
    """The features, at most `MOST_FEATURES`, whose logarithms go along with that of latency."""
    if features.shape[1] <= MOST_FEATURES:
        return list(range(features.shape[1]))
    means = features.mean(axis=0)
    logs, target = np.log1p(features / np.where(means > 0, means, 1.0)), np.log(latency)
    logs, target = logs - logs.mean(axis=0), target - target.mean()
    lengths = np.linalg.norm(logs, axis=0)
    along = np.abs(target @ logs) / np.where(lengths > 0, lengths, np.inf)
    return sorted(np.argsort(-along, kind="stable")[:MOST_FEATURES].tolist())


def _grown(products: Sequence[Product], leading: Sequence[int]) -> list[Product]:
    """Each product of whole powers times each leading feature."""
    plain = [
        [feature for feature, power in product for _ in range(int(power))]
        for product in products
        if all(power >= 1 for _, power in product)
    ]
    return [_product([*factors, feature]) for factors in plain for feature in leading]


def product_laws(features: Matrix, latency: Vector, weights: Vector, limit: float) -> list[Terms]:
    """Non-negative laws of latency [n] in products of up to one, two and three of the features [n, f].

    A non-negative fit takes few of the products on offer, and only those are returned. Roots, of one feature or two,
    are on offer as well; triples only if they hold a pair that the second law took. `limit` is `fit_relative`'s.
    """
    leading = _leading(features, latency)
    pairs = [_product(pair) for pair in combinations_with_replacement(leading, 2)]
    roots: list[Product] = [((feature, ROOT),) for feature in leading]
    mixed = [tuple((feature, ROOT) for feature, _ in pair) for pair in pairs if len(pair) == 2]

    def law(products: list[Product]) -> Terms:
        columns = expand(features, products)
        # Which columns serve shows after the first steps; the others would cost most of the time.
        near = np.flatnonzero(fit_relative(columns, latency, weights, limit=limit, robust_steps=FIRST_STEPS) > 0)
        coefficients = fit_relative(columns[:, near], latency, weights, limit=limit)
        kept = near[coefficients > 0]
        return tuple(products[at] for at in kept), coefficients[coefficients > 0]

    first = [*singles(features.shape[1]), *roots]
    second = [*first, *pairs, *mixed]
    laws = [law(first), law(second)]
    return [*laws, law(list(dict.fromkeys([*second, *_grown(laws[1][0], leading)])))]
