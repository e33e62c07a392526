"""The shortlist against a measuring function that disagrees with the predictions in known ways."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nas_synthetic import MEMBERS, problem

from devices.disturbance import Disturbance
from devices.measurement import Measurement
from devices.workload import Workload
from export.items import Checkpoint, Item
from nas.budget import Budget
from nas.candidates import measuring_beside_teacher
from nas.filling import GROWING, fill, lighten
from nas.finalists import MARGIN, TRIMS, Candidate, Finalist, choose_finalists, finalist_from_json, margin_on
from nas.limits import Limits
from runs.errors import UserError
from students.spec import StudentSpec

CASE = problem()
BUDGET = Budget(Workload(), 6.0)
LIMIT = 1 - MARGIN


def candidates(count: int, seed: int = 0) -> list[Candidate]:
    """Members predicted inside the window, best reward first."""
    codes = CASE.space.sample(4000, np.random.default_rng(seed))
    upper = CASE.scorer(codes)[1]
    codes = codes[(upper > 5.4) & (upper <= 6.0)]
    codes = codes[np.sort(np.unique(codes, axis=0, return_index=True)[1])][:count]
    return [describe(code, reward) for code, reward in zip(codes, np.linspace(0.9, 0.5, count), strict=True)]


def describe(code: np.ndarray, reward: float = 0.0) -> Candidate:
    latency, upper = (float(values[0]) for values in CASE.scorer(code[None]))
    spec = CASE.space.decode(code[None], **MEMBERS)[0]  # type: ignore[arg-type]
    return Candidate(tuple(code.tolist()), spec, float(reward), latency, (2 * latency - upper, upper))


def smaller(candidate: Candidate) -> list[Candidate]:
    return [describe(code) for code in CASE.space.trim(np.array(candidate.codes))]


class Device:
    """Takes `factor` times what was predicted; remembers every batch it timed."""

    def __init__(self, factor: float, slow: Sequence[StudentSpec] = ()) -> None:
        self.factor, self.slow = factor, set(slow)
        self.batches: list[list[StudentSpec]] = []

    def __call__(self, specs: Sequence[StudentSpec]) -> list[float]:
        self.batches.append(list(specs))
        predicted = CASE.scorer(CASE.space.encode(specs))[0] * self.factor
        factors = [100.0 if spec in self.slow else 1.0 for spec in specs]
        return [float(ms * factor) for ms, factor in zip(predicted, factors, strict=True)]


def test_all_that_fit_stay_in_the_order_of_reward_and_are_timed_in_one_batch() -> None:
    ranked, device = candidates(5), Device(1.0)
    found = choose_finalists(ranked, 5, BUDGET, device, smaller)
    assert [finalist.candidate for finalist in found] == ranked
    assert len(device.batches) == 1


def test_those_over_budget_are_trimmed_and_keep_their_place() -> None:
    ranked, device = candidates(4), Device(1.2)
    found = choose_finalists(ranked, 4, BUDGET, device, smaller)
    assert [finalist.candidate.reward for finalist in found] == [candidate.reward for candidate in ranked]
    assert all(0 < finalist.candidate.trimmed <= TRIMS for finalist in found)
    assert all(finalist.measured_ms <= BUDGET.latency_ms * LIMIT for finalist in found)


def test_a_trimmed_one_is_the_largest_neighbour_that_should_fit() -> None:
    (candidate,), device = candidates(1), Device(1.2)
    (found,) = choose_finalists([candidate], 1, BUDGET, device, smaller)
    fitting = [other.predicted_ms for other in smaller(candidate) if other.predicted_ms * 1.2 <= 6.0 * LIMIT]
    assert found.candidate.trimmed == 1 and found.candidate.predicted_ms == max(fitting)


def test_one_that_stays_slow_is_dropped_and_the_next_take_over() -> None:
    ranked = candidates(6)
    family = [ranked[0].spec]
    fringe = [ranked[0]]
    for _ in range(TRIMS):
        fringe = [other for candidate in fringe for other in smaller(candidate)][:400]
        family += [other.spec for other in fringe]
    found = choose_finalists(ranked, 2, BUDGET, Device(1.0, family), smaller)
    assert ranked[1] in [finalist.candidate for finalist in found]
    assert ranked[0].reward not in [finalist.candidate.reward for finalist in found]


def test_nothing_fits_at_all() -> None:
    device = Device(100.0)
    assert choose_finalists(candidates(3), 2, BUDGET, device, smaller) == []
    assert len(device.batches) == 2 * (1 + TRIMS)


def larger(candidate: Candidate) -> list[Candidate]:
    return [describe(code) for code in CASE.space.grow(np.array(candidate.codes))]


def small_one() -> Finalist:
    codes = CASE.space.sample(4000, np.random.default_rng(3))
    ms = CASE.scorer(codes)[0]
    wide = codes[:, 1] > 3
    candidate = describe(codes[(ms > 4.0) & (ms < 4.4) & wide][0], 0.7)
    return Finalist(candidate, candidate.predicted_ms)


@pytest.mark.parametrize("factor", [0.8, 1.0, 1.15])
def test_room_to_spare_is_filled(factor: float) -> None:
    """Whatever the device takes beside what was predicted."""
    before, device = small_one(), Device(factor)
    before = Finalist(before.candidate, before.candidate.predicted_ms * factor)
    after = fill(before, BUDGET, device, larger)
    assert 0.94 * BUDGET.latency_ms <= after.measured_ms <= LIMIT * BUDGET.latency_ms
    assert after.candidate.filled > 0 and after.candidate.reward == before.candidate.reward
    ours, theirs = (one.candidate.spec for one in (after, before))
    assert (ours.hidden_width, len(ours.layers)) == (theirs.hidden_width, len(theirs.layers))
    assert all(mine.ffn_width >= was.ffn_width for mine, was in zip(ours.layers, theirs.layers, strict=True))
    assert finalist_from_json(after.to_json()) == after


def test_one_that_grew_too_slow_grows_less_far() -> None:
    class Sudden(Device):
        """Half as slow again from 5 ms on, which no prediction says."""

        def __call__(self, specs: Sequence[StudentSpec]) -> list[float]:
            return [ms if ms < 5.0 else 9.0 for ms in super().__call__(specs)]

    before, device = small_one(), Sudden(1.0)
    after = fill(before, BUDGET, device, larger)
    assert before.measured_ms < after.measured_ms < 5.0 and len(device.batches) <= GROWING


def test_one_disturbed_measurement_does_not_end_it() -> None:
    class Disturbed(Device):
        """Twice as slow the first time."""

        def __call__(self, specs: Sequence[StudentSpec]) -> list[float]:
            self.factor = 1.0 if self.batches else 2.0
            return super().__call__(specs)

    before, device = small_one(), Disturbed(1.0)
    after = fill(before, BUDGET, device, larger)
    assert after.measured_ms > before.measured_ms + 0.4 * (0.96 * BUDGET.latency_ms - before.measured_ms)
    assert len(device.batches) == GROWING


@pytest.mark.parametrize(("pace", "counted"), [(0.7, LIMIT), (0.96, LIMIT), (0.99, 0.99), (1.2, 1.2)])
def test_a_fast_moment_is_no_room(tmp_path: Path, pace: float, counted: float) -> None:
    """The budget is kept at the teacher's usual pace as well; what is stored under a key is never of another batch."""
    kept: dict[str, Measurement] = {}
    device, before, teacher = Device(pace), small_one(), Checkpoint(tmp_path)

    def time(items: dict[str, Item], workload: Workload, crew: None) -> dict[str, Measurement]:
        assert workload == BUDGET.workload and list(items.values())[-1] is teacher
        fresh = [key for key in items if key not in kept]
        specs = [item for key in fresh if isinstance(item := items[key], StudentSpec)]
        times = [*device(specs), 27.0 * pace] if fresh else []
        for key, ms in zip(fresh, times, strict=True):
            kept[key] = Measurement(key, workload, ms, ms, (ms, ms, ms), 1.0, 30)
        return {key: kept[key] for key in items}

    scoring = SimpleNamespace(limits=Limits(), disturbance=Disturbance())
    ground = SimpleNamespace(scoring=lambda budget: scoring)
    context = SimpleNamespace(
        time=time, ground=ground, teacher_item=teacher, usual_teacher_ms={"fp32": 27.0}.get, crew=nullcontext
    )
    with measuring_beside_teacher(context, BUDGET) as measure:  # type: ignore[arg-type]
        after = fill(before, BUDGET, measure, larger)
    assert after.measured_ms == pytest.approx(after.candidate.predicted_ms * counted) and after.candidate.filled > 0
    assert after.measured_ms <= LIMIT * BUDGET.latency_ms and after.candidate.predicted_ms <= BUDGET.latency_ms
    # A batch of its own, whatever was measured before.
    one = after.candidate.spec
    assert measure([one]) == pytest.approx([after.measured_ms]) and device.batches[-1] == [one]
    timed = len(device.batches)
    assert fill(before, BUDGET, measure, larger) == after
    assert len(device.batches) == timed, "a search that goes on measures nothing again"


@pytest.mark.parametrize("factor", [0.8, 1.0, 1.15])
@pytest.mark.parametrize("over", [1.01, 1.03, 1.08])
def test_one_that_is_slightly_over_loses_a_little(factor: float, over: float) -> None:
    """Whatever the device takes beside what was predicted; what was taught is still there."""
    device = Device(factor)
    grown = fill(small_one(), BUDGET, Device(1.0), larger)
    # The budget that it misses is its own milliseconds here, and less.
    budget = Budget(Workload(), grown.candidate.predicted_ms * factor / over)
    after = lighten(grown, over * budget.latency_ms, budget, device, smaller)
    assert after is not None and after.measured_ms <= LIMIT * budget.latency_ms
    assert after.measured_ms >= 0.9 * budget.latency_ms and after.candidate.reward == grown.candidate.reward
    ours, theirs = (one.candidate.spec for one in (after, grown))
    assert (ours.hidden_width, len(ours.layers)) == (theirs.hidden_width, len(theirs.layers))
    assert all(mine.ffn_width <= was.ffn_width for mine, was in zip(ours.layers, theirs.layers, strict=True))
    for mine, was in zip(ours.layers, theirs.layers, strict=True):
        assert mine.heads <= was.heads and mine.qkv_width // mine.heads == was.qkv_width // was.heads
    assert finalist_from_json(replace(after, cut_from="work/a").to_json()).cut_from == "work/a"


def test_one_that_cannot_lose_enough_is_given_up() -> None:
    grown = fill(small_one(), BUDGET, Device(1.0), larger)
    assert lighten(grown, 6.2, BUDGET, Device(5.0), smaller) is None
    assert lighten(grown, 6.2, BUDGET, Device(1.0), lambda candidate: []) is None


def test_a_full_one_is_left_alone() -> None:
    (candidate,) = candidates(1)
    device = Device(1.0)
    full = Finalist(candidate, 0.97 * BUDGET.latency_ms)
    assert fill(full, BUDGET, device, larger) == full and not device.batches
    assert fill(small_one(), BUDGET, device, lambda candidate: []) == small_one()


@settings(max_examples=25, deadline=None)
@given(factor=st.floats(0.8, 1.3), seed=st.integers(0, 50), wanted=st.integers(1, 4))
def test_whatever_is_returned_was_measured_within_the_budget_and_once(factor: float, seed: int, wanted: int) -> None:
    device = Device(factor)
    found = choose_finalists(candidates(4, seed), wanted, BUDGET, device, smaller)
    measured = [spec for batch in device.batches for spec in batch]
    assert len(measured) == len(set(measured))
    assert {finalist.candidate.spec for finalist in found} <= set(measured)
    assert all(finalist.measured_ms <= BUDGET.latency_ms for finalist in found)
    rewards = [finalist.candidate.reward for finalist in found]
    assert rewards == sorted(rewards, reverse=True)


def test_json_round_trip() -> None:
    finalist = Finalist(candidates(1)[0], 5.25)
    assert finalist_from_json(finalist.to_json()) == finalist


@pytest.mark.parametrize("wrong", [0, -1.0, float("nan"), float("inf"), "15", True, None])
def test_budgets_that_are_none(wrong: object) -> None:
    with pytest.raises(UserError, match="--budget-ms"):
        Budget(Workload(), wrong)  # type: ignore[arg-type]


def test_budget_labels() -> None:
    assert [Budget(Workload(), ms).label for ms in (15.0, 7.5, 8)] == ["15ms", "7.5ms", "8ms"]


def test_an_unsteady_machine_leaves_more_of_a_budget_free() -> None:
    assert margin_on(Disturbance()) == margin_on(Disturbance(1.0, 1.1, 1.12)) == MARGIN
    assert margin_on(Disturbance(1.0, 1.0, 1.07)) == pytest.approx(0.035)
    assert margin_on(Disturbance(1.11, 1.19, 1.4)) == 0.05
