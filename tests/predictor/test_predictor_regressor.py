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
    assert mape(LatencyRegressor().fit(features, latency).predict(fresh), truth) < 5


def test_trees_learn_what_the_law_cannot_say():
    features, latency = table(300, 3)
    fresh, truth = table(400, 4, noise=0.0)
    law_only = LatencyRegressor(rounds=0).fit(features, latency)
    with_trees = LatencyRegressor().fit(features, latency)
    assert mape(with_trees.predict(fresh), truth) < 0.7 * mape(law_only.predict(fresh), truth)


def test_trees_are_not_trusted_where_there_is_only_noise():
    rng = np.random.default_rng(20)
    features = rng.uniform(1, 10, (120, 4))
    latency = features.sum(axis=1) * np.exp(0.1 * rng.standard_normal(120))
    assert LatencyRegressor().fit(features, latency).trust_ < 0.4
    assert LatencyRegressor().fit(*table(300, 3)).trust_ > 0.7


def test_the_law_reaches_below_the_smallest_row():
    features, latency = table(60, 21)
    smaller = features.min(axis=0, keepdims=True) / 2
    assert LatencyRegressor().fit(features, latency).predict(smaller)[0] < latency.min() / 1.5


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
    low, high = LatencyRegressor().fit(features, latency).predict_interval(fresh, coverage)
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
    doubled[1::2] *= 1 + 1e-6  # equal rows are kept together without being told
    eager = {"rounds": 300, "learning_rate": 0.3, "shrinkage": 0.0, "depth": 6}
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


def test_products_are_found_and_the_unneeded_left_out():
    rng = np.random.default_rng(30)
    features = rng.uniform(1, 10, (300, 6))
    latency = 2 + features[:, 0] * features[:, 3] * features[:, 5]
    law = LatencyRegressor(rounds=0).fit(features, latency).law_
    shares = dict(zip(law.products, law.coefficients * law.means / latency.mean(), strict=True))
    assert shares[((0, 1.0), (3, 1.0), (5, 1.0))] > 0.9
    fresh = rng.uniform(1, 10, (100, 6))
    predicted = LatencyRegressor(rounds=0).fit(features, latency).predict(fresh)
    assert mape(predicted, 2 + fresh[:, 0] * fresh[:, 3] * fresh[:, 5]) < 0.5


def test_many_features_are_fitted_all_the_same():
    rng = np.random.default_rng(31)
    features = rng.uniform(1, 10, (150, 60))
    latency = features[:, 7] * features[:, 50] * np.exp(0.01 * rng.standard_normal(150))
    regressor = LatencyRegressor(rounds=10, folds=3).fit(features[:120], latency[:120])
    assert mape(regressor.predict(features[120:]), latency[120:]) < 5


def test_one_row_in_ten_far_off_moves_the_law_little():
    features, latency = table(200, 32)
    spoilt = latency * np.where(np.arange(200) % 10 == 0, 1.5, 1.0)
    fresh, truth = table(300, 33, noise=0.0)
    clean, robust = (LatencyRegressor().fit(features, values).predict(fresh) for values in (latency, spoilt))
    assert mape(robust, truth) < mape(clean, truth) + 2.5


def other_device(count: int, seed: int, noise: float = 0.02):
    """As `table`, but products take four times as long there, all else twice, and no width makes them slower."""
    features, _ = table(count, seed)
    layers, width, inner = features.T
    latency = 0.6 + layers * (4e-5 * width * inner + 4e-3 * width)
    return features, latency * np.exp(noise * np.random.default_rng(seed).standard_normal(count))


@pytest.fixture(scope="module")
def known_device():
    return LatencyRegressor().fit(*table(300, 40))


@pytest.mark.parametrize("count", [5, 10, 20, 50])
def test_adapting_beats_learning_from_scratch(known_device, count):
    fresh, truth = other_device(300, 41, noise=0.0)
    adapted, scratch = [], []
    for seed in (42, 43, 44):
        few = other_device(count, seed)
        adapted.append(mape(known_device.adapt(*few).predict(fresh), truth))
        scratch.append(mape(LatencyRegressor().fit(*few).predict(fresh), truth))
    assert np.mean(adapted) < np.mean(scratch)


def test_a_device_twice_as_slow_needs_one_row(known_device):
    features, latency = table(30, 45, noise=0.0)
    adapted = known_device.adapt(features[:1], 2 * known_device.predict(features[:1]))
    assert adapted.predict(features) == pytest.approx(2 * known_device.predict(features), rel=1e-4)
    assert adapted.margin(0.9) > 1


def test_adapting_leaves_the_known_device_as_it_was(known_device):
    features, _ = table(50, 46)
    before, margin = known_device.predict(features), known_device.margin(0.9)
    adapted = known_device.adapt(*other_device(20, 47))
    assert (known_device.predict(features) == before).all() and known_device.margin(0.9) == margin
    loaded = LatencyRegressor.from_json(json.loads(json.dumps(adapted.to_json())))
    assert (loaded.predict(features) == adapted.predict(features)).all()


def test_an_adapted_interval_is_as_wide_as_the_new_device_is_noisy(known_device):
    fresh, measured = other_device(500, 48, noise=0.1)
    low, high = known_device.adapt(*other_device(30, 49, noise=0.1)).predict_interval(fresh, 0.9)
    assert 0.8 < ((low <= measured) & (measured <= high)).mean() < 0.98


def test_given_terms_are_adapted_without_products():
    features, latency = table(200, 50)
    terms = np.column_stack([np.ones(200), features[:, 0] * features[:, 1] * features[:, 2], features[:, 0]])
    known = LatencyRegressor(terms=3).fit(np.hstack([terms, features]), latency)
    adapted = known.adapt(np.hstack([terms, features])[:20], 3 * latency[:20])
    assert len(adapted.law_.coefficients) == 3 and (adapted.law_.coefficients >= 0).all()
    assert mape(adapted.predict(np.hstack([terms, features])), 3 * latency) < 5


def test_an_outlier_among_the_few_is_not_followed(known_device):
    few, latency = other_device(20, 51)
    latency[3] *= 2
    fresh, truth = other_device(300, 52, noise=0.0)
    assert mape(known_device.adapt(few, latency).predict(fresh), truth) < 12


def test_adapting_refuses_what_it_cannot_learn_from(known_device):
    features, latency = other_device(5, 53)
    with pytest.raises(ValueError, match="positive"):
        known_device.adapt(features, 0 * latency)
    with pytest.raises(ValueError, match="features"):
        known_device.adapt(features[:, :2], latency)


def test_a_device_with_nothing_in_common_is_learnt_from_its_own_rows(known_device):
    rng = np.random.default_rng(60)
    features, _ = table(360, 60)
    latency = 1 + 30 * features[:, 0] ** 2 + rng.uniform(0, 0.1, 360)
    adapted = known_device.adapt(features[:60], latency[:60])
    assert mape(adapted.predict(features[60:]), latency[60:]) < 3
