"""Products of features: their values, what is on offer, and that few are taken."""

import numpy as np
import pytest

from predictor.products import MOST_FEATURES, expand, product_laws, singles


def test_powers_and_roots_are_multiplied():
    features = np.array([[4.0, 3.0], [9.0, 0.0]])
    products = [(), ((0, 0.5),), ((0, 2.0),), ((0, 1.0), (1, 2.0)), ((0, 0.5), (1, 0.5))]
    expected = [[1, 2, 16, 36, np.sqrt(12)], [1, 3, 81, 0, 0]]
    assert expand(features, products) == pytest.approx(np.array(expected))


def test_singles_are_the_constant_and_every_feature():
    assert singles(2) == [(), ((0, 1.0),), ((1, 1.0),)]


@pytest.mark.parametrize("factors", [1, 2, 3])
def test_a_law_of_as_many_factors_is_found(factors):
    rng = np.random.default_rng(factors)
    features = rng.uniform(1, 10, (200, 5))
    latency = 1 + features[:, :factors].prod(axis=1)
    products, coefficients = product_laws(features, latency, np.ones(200), 0.5)[factors - 1]
    assert np.abs(expand(features, products) @ coefficients / latency - 1).max() < 1e-3
    assert (coefficients > 0).all() and len(products) < 15
    assert max(sum(power for _, power in product) for product in products) == factors


def test_no_law_has_more_factors_than_its_place_says():
    rng = np.random.default_rng(4)
    features = rng.uniform(1, 10, (100, 4))
    laws = product_laws(features, features.prod(axis=1), np.ones(100), 0.5)
    for place, (products, _) in enumerate(laws, start=1):
        assert max(sum(power for _, power in product) for product in products) <= place


def test_of_many_features_those_that_matter_are_multiplied():
    rng = np.random.default_rng(5)
    count = MOST_FEATURES + 20
    features = np.hstack([rng.uniform(1, 10, (150, count)), np.zeros((150, 1))])
    latency = features[:, count - 1] * features[:, count - 2]
    products, _ = product_laws(features, latency, np.ones(150), 0.5)[1]
    assert ((count - 2, 1.0), (count - 1, 1.0)) in products
