"""The gate keeps what was measured to be worth it and says why in one sentence."""

import json

import numpy as np
import pytest

from export.gate import Evidence, Gate, judge
from runs.errors import UserError

ROUNDS = 30


def times(milliseconds: float, noise: float = 0.002, seed: int = 0) -> list[float]:
    return list(milliseconds * (1 + noise * np.random.default_rng(seed).standard_normal(ROUNDS)))


def exact(score: float | None = 0.93) -> Evidence:
    return Evidence("fp32", times(30.0), 40_000_000, score=score)


def candidate(
    milliseconds: float = 12.0, size: int = 15_000_000, agreement: float = 0.996, score: float | None = 0.929
) -> Evidence:
    return Evidence("int8", times(milliseconds, seed=1), size, agreement, score)


@pytest.mark.parametrize(
    ("given", "kept", "words"),
    [
        (candidate(), True, "2.50 times as fast as fp32"),
        (candidate(30.1), True, "0.38 times its bytes"),
        (candidate(12.0, 40_000_000), True, "1.00 times its bytes"),
        (candidate(30.1, 40_000_000), False, "neither faster nor smaller by 2%"),
        (candidate(29.8, 40_000_000), False, "neither faster nor smaller by 2%"),
        (candidate(45.0, 39_900_000), False, "0.67 times as fast"),
        (candidate(score=0.92), False, "at most 0.5 points may be lost"),
        (candidate(score=0.925), True, "-0.50 points"),
        (candidate(score=0.94), True, "+1.00 points"),
        (candidate(score=float("nan")), False, "at most 0.5 points may be lost"),
        (candidate(30.1, 40_000_000, score=0.5), False, "may be lost and it is neither faster nor smaller"),
    ],
)
def test_a_precision_is_kept_for_what_it_measured(given: Evidence, kept: bool, words: str) -> None:
    verdict = judge(exact(), given)
    assert verdict.kept is kept
    assert words in verdict.reason
    assert verdict.reason.startswith("int8 is ") and verdict.reason.endswith(".") and "\n" not in verdict.reason
    assert json.loads(json.dumps(verdict.to_json()))["kept"] is kept


def test_without_labels_the_answers_decide() -> None:
    assert judge(exact(None), candidate(score=None)).kept
    refused = judge(exact(None), candidate(agreement=0.98, score=None))
    assert not refused.kept and refused.loss_points is None
    assert "99.0% of the answers must stay the same" in refused.reason
    assert judge(exact(None), candidate(agreement=0.98, score=None), Gate(minimum_agreement=0.97)).kept


def test_a_gain_within_the_noise_is_none() -> None:
    noisy = Evidence("int8", times(28.5, noise=0.3, seed=2), 40_000_000, 1.0, 0.93)
    verdict = judge(exact(), noisy)
    assert not verdict.kept and verdict.speedup_interval[0] < 1.0 < verdict.speedup_interval[1]


def test_a_machine_that_slows_down_midway_changes_nothing() -> None:
    drift = np.linspace(1.0, 3.0, ROUNDS)
    slow = Evidence("fp32", list(np.array(exact().latencies_ms) * drift), 40_000_000, score=0.93)
    other = Evidence("int8", list(np.array(candidate().latencies_ms) * drift), 15_000_000, 0.996, 0.929)
    assert judge(slow, other).speedup == pytest.approx(judge(exact(), candidate()).speedup)


def test_a_limit_on_the_slowdown_is_kept_to() -> None:
    verdict = judge(exact(), candidate(60.0), Gate(maximum_slowdown=1.5))
    assert not verdict.kept and "1.50 times as long at most" in verdict.reason
    assert judge(exact(), candidate(40.0), Gate(maximum_slowdown=1.5)).kept


@pytest.mark.parametrize(
    ("one", "other", "words"),
    [
        (exact(), Evidence("int8", times(9.0)[:-1], 1, 1.0, 0.9), "same rounds"),
        (Evidence("fp32", [3.0], 9, score=0.9), Evidence("int8", [1.0], 3, 1.0, 0.9), "5 rounds or more"),
        (exact(), candidate(score=None), "only one of fp32 and int8 has a score"),
        (exact(), Evidence("int8", [0.0] * ROUNDS, 3, 1.0, 0.9), "positive numbers"),
        (exact(), Evidence("int8", [float("nan")] * ROUNDS, 3, 1.0, 0.9), "positive numbers"),
        (exact(), candidate(size=0), "positive numbers"),
    ],
)
def test_evidence_that_decides_nothing_is_refused(one: Evidence, other: Evidence, words: str) -> None:
    with pytest.raises(UserError, match=words):
        judge(one, other)


@pytest.mark.parametrize(
    ("field", "value"),
    [("maximum_loss_points", -1), ("minimum_agreement", 1.1), ("minimum_gain", -0.1), ("maximum_slowdown", 0.5)],
)
def test_a_gate_makes_sense(field: str, value: float) -> None:
    with pytest.raises(UserError, match=field):
        Gate(**{field: value})
