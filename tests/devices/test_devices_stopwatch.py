"""Rounds, their order, and what a sample is."""

import gc
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest

from devices.affinity import Pinning, by_worth, usable_cores
from devices.guard import Guard
from devices.stopwatch import (
    Circumstances,
    Policy,
    Reference,
    measure,
    sample_ms,
    uncertainty_percent,
    unsure,
    warm_up,
)
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
    seen = list(measure(sessions, dict.fromkeys("abc", (1, 3, 4)), Policy(), rng(), [reference]))
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
    session = Counted([3.0, 3.0, 3.0, 3.0, 99.0, 4.0, 1.0, 2.0])
    policy = Policy(warmup_runs=2, settle_runs=1, sample_ms=9.0, max_runs=8)
    [reading] = measure({"a": session}, {"a": (0,)}, policy, rng())
    assert reading.milliseconds == 2.0
    assert session.runs == 8


def test_warming_up_ends_when_two_series_agree_and_not_before() -> None:
    cooling = Counted([9.0, 8.0, 5.0, 4.0, 3.0, 3.0, 3.0, 3.0, 1.0])
    assert warm_up(cooling, Policy(warmup_runs=2)) == 3.0
    assert cooling.runs == 8
    restless = Counted([1.0, 2.0])
    assert warm_up(restless, Policy(warmup_runs=1)) == 1.0
    assert restless.runs == 10


def test_rounds_go_on_until_the_median_is_known_or_the_limit_is_reached() -> None:
    policy = Policy(rounds=3, settle_runs=0, sample_ms=0.0, extra_rounds=5, tolerance_percent=2.0, most_ms=300.0)
    sessions = {
        "steady": Counted([5.0]),
        "restless": Counted([5.0, 6.0]),
        "settling": Counted([1.0, 1.0, 1.0, 1.0, 5.0, 4.6, 5.4, *[5.0] * 20]),
        "long": Counted([90.0, 110.0]),
    }
    rounds: dict[str, list[int]] = {key: [] for key in sessions}
    for reading in measure(sessions, dict.fromkeys(sessions, range(3)), policy, rng()):
        rounds[reading.key].append(reading.round)
    assert rounds["steady"] == [0, 1, 2]
    assert rounds["restless"] == list(range(8))
    assert 3 < len(rounds["settling"]) < 8
    assert len(rounds["long"]) in (3, 4)
    assert all(numbers == list(range(len(numbers))) for numbers in rounds.values())


def test_what_earlier_rounds_said_counts_towards_the_tolerance() -> None:
    policy = Policy(rounds=3, sample_ms=0.0, extra_rounds=9, tolerance_percent=1.0)
    known = {"a": {0: 5.0, 1: 5.5, 2: 5.0, 3: 5.0, 4: 5.0}}
    assert not unsure(known["a"].values(), policy)
    known["a"][1] = known["a"][3] = 6.0
    assert unsure(known["a"].values(), policy)
    readings = list(measure({"a": Counted([5.0])}, {"a": ()}, policy, rng(), (), Circumstances(known=known)))
    assert [reading.round for reading in readings] == list(range(5, 5 + len(readings)))
    assert 0 < len(readings) < 7


@pytest.mark.parametrize(("count", "least"), [(5, 0.7), (200, 0.93)])
def test_uncertainty_covers_the_median_about_as_often_as_it_says(count: int, least: float) -> None:
    draws = np.random.default_rng(3).normal(100.0, 2.0, (2000, count))
    inside = [abs(np.median(row) - 100.0) <= uncertainty_percent(row) / 100 * np.median(row) for row in draws]
    assert least < np.mean(inside) < 0.97


def test_sessions_on_equally_many_threads_follow_one_another() -> None:
    sessions = {str(number): Counted([1.0]) for number in range(8)}
    threads = {str(number): 1 + number % 2 for number in range(8)}
    readings = list(measure(sessions, dict.fromkeys(sessions, (0, 1)), Policy(), rng(), (), Circumstances(threads)))
    for turn in (readings[:8], readings[8:]):
        assert len(list(groupby(threads[reading.key] for reading in turn))) == 2
    assert [reading.key for reading in readings[:8]] != [reading.key for reading in readings[8:]]


def test_a_disturbed_round_is_taken_again_and_does_not_count() -> None:
    # Warm-up, six rounds as usual, a slow one, and as usual again.
    reference = Reference("r", Counted([4.0] * 4 + [4.0] * 6 + [6.0] + [4.0] * 20))
    guard = Guard(lambda text: pytest.fail(text))
    policy = Policy(settle_runs=0, sample_ms=0.0)
    model = Counted([10.0])
    readings = list(measure({"a": model}, {"a": range(8)}, policy, rng(), [reference], Circumstances(guard=guard)))
    assert [(reading.key, reading.round) for reading in readings if reading.key == "a"] == [("a", n) for n in range(8)]
    assert [reading.round for reading in readings if reading.key == "r"] == list(range(8))
    assert {reading.milliseconds for reading in readings} == {4.0, 10.0}
    assert (guard.rounds, guard.repeated_rounds, guard.paused_seconds) == (8, 1, 0.0)
    assert model.runs == 4 + 9


def test_a_machine_that_stays_slow_is_waited_for_and_then_believed() -> None:
    said: list[str] = []
    rested: list[float] = []
    guard = Guard(said.append, rested.append)
    for _ in range(10):
        assert guard.accepts({"r": 5.0})
    verdicts = [guard.accepts({"r": 7.5}) for _ in range(200)]
    assert verdicts[:3] == [False, False, True]
    assert rested and sum(rested) == guard.paused_seconds <= 9.0
    assert "50 % slower" in said[0]
    assert guard.repeated_rounds <= 4 + 0.1 * guard.rounds + 1
    assert all(verdicts[-20:]), "what lasts is the usual speed"


def test_a_round_in_which_one_reference_alone_is_slow_counts() -> None:
    guard = Guard(lambda text: pytest.fail(text))
    for _ in range(10):
        assert guard.accepts({"one thread": 5.0, "two threads": 3.0})
    assert guard.accepts({"one thread": 5.0, "two threads": 4.5})
    assert not guard.accepts({"one thread": 7.5, "two threads": 4.5})


def test_pinning_moves_the_calling_thread_and_gives_it_back() -> None:
    before = usable_cores()
    pinning = Pinning()
    try:
        pinning.use(1)
        assert len(usable_cores()) == 1
        pinning.use(len(before))
        assert usable_cores() == before
        pinning.use(len(before) + 5)
        assert usable_cores() == before
        pinning.use(1)
    finally:
        pinning.release()
    assert usable_cores() == before


def test_cores_are_chosen_fast_ones_first_and_siblings_last(tmp_path: Path) -> None:
    for core, (capacity, siblings) in enumerate(
        [(512, "0"), (1024, "1-2"), (1024, "1-2"), (1024, "3,4"), (1024, "3,4")]
    ):
        (tmp_path / f"cpu{core}" / "topology").mkdir(parents=True)
        (tmp_path / f"cpu{core}" / "cpu_capacity").write_text(f"{capacity}\n")
        (tmp_path / f"cpu{core}" / "topology" / "thread_siblings_list").write_text(f"{siblings}\n")
    assert by_worth(range(5), tmp_path) == (3, 1, 4, 2, 0)
    assert by_worth(range(3), tmp_path / "nowhere") == (2, 1, 0)


def test_the_garbage_collector_waits_and_comes_back() -> None:
    session = Counted([1.0])
    assert gc.isenabled()
    list(measure({"a": session}, {"a": (0, 1)}, Policy(), rng()))
    assert session.collector_on == {False}
    assert gc.isenabled()


@pytest.mark.parametrize("policy", [Policy(), Policy(rounds=20, warmup_runs=5, sample_ms=0.0)])
def test_a_policy_survives_json(policy: Policy) -> None:
    assert Policy(**policy.to_json()) == policy
