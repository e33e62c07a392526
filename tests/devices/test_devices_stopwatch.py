"""Rounds, their order, and what a sample is."""

import gc

import numpy as np
import pytest

from devices.stopwatch import Policy, Reference, measure, sample_ms, warm_up
from devices.target import Session


class Counted(Session):
    """Takes the given durations in turn and counts how often it ran."""

    def __init__(self, durations: list[float], journal: list[str] | None = None, key: str = "") -> None:
        self.durations, self.runs, self.journal, self.key = durations, 0, journal, key
        self.collector_on: set[bool] = set()

    def run(self) -> list:
        return []

    def time_ms(self) -> float:
        self.collector_on.add(gc.isenabled())
        self.runs += 1
        if self.journal is not None:
            self.journal.append(self.key)
        return self.durations[(self.runs - 1) % len(self.durations)]


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_every_missing_round_is_measured_once_and_no_other() -> None:
    missing = {"a": (0, 1, 2), "b": (2,), "closed": (0, 7)}
    sessions = {key: Counted([1.0]) for key in ("a", "b")}
    seen = [(reading.key, reading.round) for reading in measure(sessions, missing, Policy(), rng())]
    assert sorted(seen) == [("a", 0), ("a", 1), ("a", 2), ("b", 2)]


def test_the_reference_runs_in_every_round_and_counts_its_own() -> None:
    sessions = {key: Counted([1.0]) for key in "abc"}
    reference = Reference("r", Counted([2.0]), first_round=5)
    seen = list(measure(sessions, dict.fromkeys("abc", (1, 3, 4)), Policy(), rng(), reference))
    assert [reading.round for reading in seen if reading.key == "r"] == [5, 6, 7]
    for turn in range(3):
        assert {reading.key for reading in seen[4 * turn : 4 * turn + 4]} == set("abcr")


def test_rounds_have_different_orders_that_a_seed_repeats() -> None:
    def orders(seed: int) -> list[tuple[str, ...]]:
        sessions = {str(n): Counted([1.0]) for n in range(12)}
        missing = dict.fromkeys(sessions, tuple(range(4)))
        keys = [reading.key for reading in measure(sessions, missing, Policy(), np.random.default_rng(seed))]
        return [tuple(keys[at : at + 12]) for at in range(0, 48, 12)]

    assert len(set(orders(1))) == 4
    assert orders(1) == orders(1) != orders(2)


def test_short_models_run_more_often_a_sample_than_long_ones() -> None:
    policy = Policy(settle_runs=1, sample_ms=10.0, max_runs=8)
    runs = []
    for duration in (0.1, 2.0, 50.0, 5000.0):
        session = Counted([duration])
        assert sample_ms(session, duration, policy) == duration
        runs.append(session.runs)
    assert runs == [1 + 8, 1 + 5, 1 + 1, 1]


def test_a_slow_model_is_not_warmed_up_for_long() -> None:
    slow = Counted([5000.0])
    assert warm_up(slow, Policy(warmup_runs=10)) == 5000.0
    assert slow.runs == 1


def test_a_sample_is_the_median_after_the_unseen_runs() -> None:
    session = Counted([3.0, 3.0, 99.0, 4.0, 1.0, 2.0])
    policy = Policy(warmup_runs=2, settle_runs=1, sample_ms=9.0, max_runs=8)
    [reading] = measure({"a": session}, {"a": (0,)}, policy, rng())
    assert reading.milliseconds == 2.0
    assert session.runs == 6


def test_the_garbage_collector_waits_and_comes_back() -> None:
    session = Counted([1.0])
    assert gc.isenabled()
    list(measure({"a": session}, {"a": (0, 1)}, Policy(), rng()))
    assert session.collector_on == {False}
    assert gc.isenabled()


@pytest.mark.parametrize("policy", [Policy(), Policy(rounds=20, warmup_runs=5, sample_ms=0.0)])
def test_a_policy_survives_json(policy: Policy) -> None:
    assert Policy(**policy.to_json()) == policy
