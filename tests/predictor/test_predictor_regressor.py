"""LatencyRegressor as scikit-learn wants an estimator, and as latencies want it."""

import json

import numpy as np
import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from predictor.regressor import LatencyRegressor


@parametrize_with_checks([LatencyRegressor(rounds=20, folds=3)])
def test_scikit_learn_contract(estimator, check):
    check(estimator)


def table(count: int, seed: int, noise: float = 0.02):
    """Latencies of something with a product, a step and multiplicative noise."""
    rng = np.random.default_rng(seed)
    features = rng.uniform([1, 64, 64], [12, 768, 3072], (count, 3))
    layers, width, inner = features.T
    latency = (0.3 + layers * (1e-5 * width * inner + 2e-3 * width)) * np.where(width > 400, 1.1, 1.0)
    return features, latency * np.exp(noise * rng.standard_normal(count))


def mape(predicted, measured) -> float:
    return float(100 * np.abs(predicted / measured - 1).mean())


def test_fifty_rows_are_enough():
    features, latency = table(50, 1)
    fresh, truth = table(400, 2, noise=0.0)
    assert mape(LatencyRegressor(degree=3).fit(features, latency).predict(fresh), truth) < 5


def test_trees_learn_what_the_law_cannot_say():
    features, latency = table(300, 3)
    fresh, truth = table(400, 4, noise=0.0)
    law_only = LatencyRegressor(degree=3, rounds=0).fit(features, latency)
    with_trees = LatencyRegressor(degree=3).fit(features, latency)
    assert mape(with_trees.predict(fresh), truth) < 0.7 * mape(law_only.predict(fresh), truth)


def test_trees_are_not_trusted_where_there_is_only_noise():
    rng = np.random.default_rng(20)
    features = rng.uniform(1, 10, (120, 4))
    latency = features.sum(axis=1) * np.exp(0.1 * rng.standard_normal(120))
    assert LatencyRegressor().fit(features, latency).trust_ < 0.4
    assert LatencyRegressor(degree=3).fit(*table(300, 3)).trust_ > 0.7


def test_the_law_reaches_below_the_smallest_row():
    features, latency = table(60, 21)
    smaller = features.min(axis=0, keepdims=True) / 2
    assert LatencyRegressor(degree=3).fit(features, latency).predict(smaller)[0] < latency.min() / 1.5


def test_the_order_of_rows_does_not_matter():
    features, latency = table(60, 22)
    order = np.random.default_rng(0).permutation(60)
    fresh, _ = table(50, 23)
    ours, theirs = LatencyRegressor().fit(features, latency), LatencyRegressor().fit(features[order], latency[order])
    assert ours.predict(fresh) == pytest.approx(theirs.predict(fresh), rel=1e-6)


@pytest.mark.parametrize("coverage", [0.5, 0.8, 0.9])
def test_intervals_cover_about_what_they_say(coverage):
    features, latency = table(200, 5, noise=0.05)
    fresh, measured = table(1000, 6, noise=0.05)
    low, high = LatencyRegressor(degree=3).fit(features, latency).predict_interval(fresh, coverage)
    assert abs(((low <= measured) & (measured <= high)).mean() - coverage) < 0.08


def test_a_wider_coverage_has_a_wider_margin():
    regressor = LatencyRegressor().fit(*table(60, 7))
    margins = [regressor.margin(coverage) for coverage in (0.5, 0.8, 0.9, 0.99)]
    assert margins == sorted(margins) and margins[0] > 1


@pytest.mark.parametrize("coverage", [0.0, 1.0, -1.0, float("nan")])
def test_coverage_lies_between_none_and_all(coverage):
    with pytest.raises(ValueError, match="coverage"):
        LatencyRegressor().fit(*table(20, 8)).margin(coverage)


def test_groups_are_not_split_between_folds():
    # Every row twice, with a noise of its own that trees can learn by heart: split twins would look easy to predict.
    features, latency = table(40, 9, noise=0.2)
    doubled, twice, groups = np.repeat(features, 2, axis=0), np.repeat(latency, 2), np.repeat(np.arange(40), 2)
    eager = {"degree": 1, "rounds": 300, "learning_rate": 0.3, "shrinkage": 0.0, "depth": 6}
    apart = LatencyRegressor(**eager).fit(doubled, twice, groups=groups)
    split = LatencyRegressor(**eager).fit(doubled, twice)
    assert apart.margin(0.5) > split.margin(0.5)


def test_rows_that_do_not_learn_shape_the_law_alone():
    features, latency = table(80, 10)
    learn = np.arange(80) < 60
    regressor = LatencyRegressor().fit(features, latency, learn=learn)
    assert len(regressor.residuals_) == 60


def test_json_gives_back_the_same_bits():
    features, latency = table(60, 11)
    regressor = LatencyRegressor(random_state=3).fit(features, latency)
    loaded = LatencyRegressor.from_json(json.loads(json.dumps(regressor.to_json())))
    fresh, _ = table(500, 12)
    assert (loaded.predict(fresh) == regressor.predict(fresh)).all()
    assert loaded.margin(0.9) == regressor.margin(0.9)
    assert loaded.get_params() == regressor.get_params()


def test_threads_and_repetition_change_no_bit():
    features, latency = table(60, 13)
    fresh, _ = table(5000, 14)
    one, two = (LatencyRegressor(n_jobs=jobs).fit(features, latency).predict(fresh) for jobs in (1, 2))
    assert (one == two).all()


def test_a_latency_of_zero_is_refused():
    features, latency = table(20, 15)
    with pytest.raises(ValueError, match="positive"):
        LatencyRegressor().fit(features, latency * (np.arange(20) > 0))
