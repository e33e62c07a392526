"""Members scored in bulk: as the predictor scores their specs, the heavy ones barred, the fastest found."""

from dataclasses import replace

import numpy as np
import pytest
from tiny_world import DISTURBANCE, WORKLOAD, make_profile, make_space

from export.sizes import file_bytes
from nas.controllers.pool import Problem, draw_pool
from nas.limits import Limits
from nas.members import Members
from nas.rules import RULES
from nas.scoring import Scoring
from profiler.folder import load_profile
from runs.errors import UserError
from students.space import space
from students.spec import Head, transformer_layers


@pytest.fixture(scope="module")
def scoring(tmp_path_factory: pytest.TempPathFactory) -> Scoring:
    root = tmp_path_factory.mktemp("scoring")
    file = make_space(root / "space.yaml")
    profile = load_profile(make_profile(root / "profile", file))
    assert profile.disturbance(WORKLOAD) == DISTURBANCE
    return Scoring(Members(space(str(file)), 33, 32, 2, Head()), profile.predictor, WORKLOAD, DISTURBANCE)


def test_members_with_too_large_a_file_are_barred(scoring: Scoring) -> None:
    codes = scoring.members.space.sample(300, np.random.default_rng(0))
    for precision in ("fp32", "int8"):
        found = np.array([file_bytes(spec, precision) for spec in scoring.members.specs(codes)])
        limit = float(np.median(found))
        barred = replace(scoring, limits=Limits(None, limit, precision))
        assert np.array_equal(np.isfinite(barred(codes)[1]), found <= limit)
        with pytest.raises(UserError, match=rf"--max-file-mb is 0.001, and the smallest {precision} file in the space"):
            replace(scoring, limits=Limits(10**9, 1000.0, precision)).fastest(0)


def test_limits_that_contradict_each_other(scoring: Scoring) -> None:
    codes = scoring.members.space.sample(300, np.random.default_rng(0))
    members = scoring.members
    least, smallest = int(members.parameters(codes).min()), float(members.file_bytes(codes, "fp32").min())
    assert "keeps both --max-parameters" in Limits(least, smallest).missed(members, codes)


def limited(scoring: Scoring, parameters: int) -> Scoring:
    return replace(scoring, limits=Limits(parameters))


def test_codes_get_what_the_predictor_says_of_their_specs_on_the_usual_machine(scoring: Scoring) -> None:
    codes = scoring.members.space.sample(300, np.random.default_rng(0))
    specs = scoring.members.specs(codes)
    latency, upper = scoring(codes)
    low, high = scoring.predictor.predict_interval(specs, WORKLOAD)
    alone, usual = scoring.predictor.predict(specs, WORKLOAD), DISTURBANCE.usual
    assert latency == pytest.approx(usual * alone, rel=1e-6)
    assert upper == pytest.approx(usual * high, rel=1e-6)
    found = scoring.candidates(codes, np.arange(300.0).tolist())
    assert [one.spec for one in found] == specs and [one.reward for one in found] == list(range(300))
    assert [one.predicted_ms for one in found] == latency.tolist()
    assert all(one.interval_ms[0] < one.predicted_ms < one.interval_ms[1] for one in found)
    ends = np.array([one.interval_ms for one in found])
    assert (ends[:, 0] < usual * low).all() and (ends[:, 1] > usual * high).all(), "the disturbance has its own spread"
    assert pytest.approx(np.stack(DISTURBANCE.interval(low, alone, high)), rel=1e-6) == ends.T


def test_members_with_too_many_weights_are_barred(scoring: Scoring) -> None:
    codes = scoring.members.space.sample(300, np.random.default_rng(0))
    weights = np.array([spec.parameters() for spec in scoring.members.specs(codes)])
    limit = int(np.median(weights))
    barred = limited(scoring, limit)
    assert np.array_equal(np.isfinite(barred(codes)[1]), weights <= limit)
    assert np.array_equal(barred(codes)[0], scoring(codes)[0])
    kept = barred.candidates(codes, [0.0] * 300)
    assert len(kept) == (weights <= limit).sum() and all(one.spec.parameters() <= limit for one in kept)
    assert barred.fastest(0).spec.parameters() <= limit
    with pytest.raises(UserError, match="--max-parameters is 10, and the smallest student"):
        limited(scoring, 10).fastest(0)


def test_what_grows_stays_below_the_limit_on_weights(scoring: Scoring) -> None:
    (code,) = scoring.members.space.sample(1, np.random.default_rng(3))
    (small,) = scoring.candidates(code[None], [0.5])
    grown = scoring.larger(small)
    limit = min(one.spec.parameters() for one in grown)
    kept = limited(scoring, limit).larger(small)
    assert kept == [one for one in grown if one.spec.parameters() <= limit] and 0 < len(kept) < len(grown)


def test_the_fastest_is_not_slower_than_any_other(scoring: Scoring) -> None:
    codes = scoring.members.space.sample(2000, np.random.default_rng(3))
    fastest = scoring.fastest(seed=0)
    assert fastest.predicted_ms <= scoring(codes)[0].min()
    for smaller in scoring.smaller(fastest):
        assert smaller.reward == fastest.reward and smaller.predicted_ms >= fastest.predicted_ms


def test_a_rule_bars_what_does_not_keep_it(scoring: Scoring) -> None:
    members = replace(scoring.members, space=space("autotinybert-mlm"))
    ruled = replace(scoring, members=members, rule="fast-development")
    codes = members.space.sample(4000, np.random.default_rng(0))
    kept = np.isfinite(ruled(codes)[1])
    shapes = [(spec.hidden_width, transformer_layers(spec, "this test")) for spec in members.specs(codes)]
    wanted = [
        all(1.6 <= one.ffn_width / hidden <= 1.9 and 0.7 <= one.qkv_width / hidden <= 1 for one in layers)
        for hidden, layers in shapes
    ]
    assert 0 < sum(wanted) < 400 and kept.tolist() == wanted
    fastest = ruled.fastest(0)
    assert RULES["fast-development"](members.space, np.array([fastest.codes])).all()
    budget = float(np.median(ruled(codes)[1][kept]))
    pool = draw_pool(Problem(members.space, ruled, budget, 4000), 25, [], np.random.default_rng(0))
    assert pool.lower_share == 0.9 and len(pool.codes) >= 100, "there is something to choose from"
    with pytest.raises(UserError, match="no student that keeps the rule 'fast-development'"):
        replace(scoring, rule="fast-development").fastest(0)
