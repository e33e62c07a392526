"""Choosing what to measure: the committee sees what it does not know, and its choices are spread out and repeat."""

import numpy as np
import pytest

from devices.workload import Workload
from export.items import item_blocks, item_key
from predictor.observation import Observation
from profiler.active import (
    Candidate,
    Committee,
    candidates,
    coordinates,
    form_committee,
    least_sure,
    spread_out,
)
from profiler.plan import EFFORTS, Allotment, item_flops
from profiler.population import POPULATIONS, Drawing
from profiler.workloads import WorkloadRange

RANGE = WorkloadRange(((16, 64),), (1,), (1,), ("fp32",))


def observed(kind: str, count: int, seed: int) -> list[Observation]:
    """Whole students of a population on a device that takes 0.2 ms and what the FLOPs cost."""
    allotment = Allotment(RANGE, 1e12, np.random.default_rng(seed))
    return [
        Observation(item_blocks(item) or (), True, workload, 0.2 + item_flops(item, 1, workload.sequence_length) / 1e8)
        for item in POPULATIONS[kind](count, Drawing((seed,)))
        for workload in allotment.workloads(item, 2)
    ]


@pytest.fixture(scope="module")
def seen() -> list[Observation]:
    return observed("hybrid", 36, 1)


@pytest.fixture(scope="module")
def committee(seen: list[Observation]) -> Committee:
    found = form_committee(seen, 0)
    assert found is not None
    return found


def test_a_committee_knows_how_wrong_it_is_on_what_it_left_out(committee: Committee) -> None:
    assert len(committee.members) == 3
    assert 0 <= committee.error_percent < 10


def test_it_disagrees_where_it_knows_nothing(committee: Committee, seen: list[Observation]) -> None:
    assert committee.disagreement(observed("kd-nas", 12, 5)).mean() > committee.disagreement(seen).mean()


def test_too_few_students_make_no_committee() -> None:
    assert form_committee(observed("hybrid", 9, 2), 0) is None


def test_candidates_repeat_and_are_new(seen: list[Observation]) -> None:
    effort = EFFORTS["standard"]
    found = candidates(effort, RANGE, (0, 1), {})
    assert found == candidates(effort, RANGE, (0, 1), {})
    assert len(found) > 100
    known = {item_key(found[0].item): found[0].item}
    assert found[0] not in candidates(effort, RANGE, (0, 1), known)
    assert all(RANGE.holds(cell.workload) and cell.key == item_key(one.item) for one in found for cell in one.cells)


def test_the_least_sure_are_surer_than_none(committee: Committee, seen: list[Observation]) -> None:
    among = candidates(EFFORTS["standard"], RANGE, (0, 2), {})
    chosen = least_sure(committee, among, seen, 20)
    assert chosen == least_sure(committee, among, seen, 20) and len(set(map(id, chosen))) == 20

    def doubt(some: list[Candidate]) -> float:
        return float(committee.disagreement([one for candidate in some for one in candidate.asked()]).mean())

    assert doubt(chosen) > 1.2 * doubt(among)


def test_points_are_taken_far_from_each_other() -> None:
    rng = np.random.default_rng(0)
    points = np.concatenate([rng.normal(0, 0.01, (50, 2)), rng.normal(5, 0.01, (50, 2)), [[0.0, 5.0]]])
    chosen = spread_out(points, np.ones(len(points)), points[:1], 2)
    assert {place >= 50 for place in chosen} == {True} and (100 in chosen) and len(chosen) == 2
    first = spread_out(points, np.ones(len(points)), np.empty((0, 2)), 3)
    assert len(set(first)) == 3
    assert sorted(spread_out(points, np.ones(len(points)), np.empty((0, 2)), 1000)) == list(range(len(points)))


def test_worth_decides_between_equally_far_points() -> None:
    points = np.array([[0.0], [10.0], [-10.0]])
    assert spread_out(points, np.array([1.0, 1.0, 2.0]), points[:1], 1) == [2]


def test_coordinates_tell_threads_and_precisions_apart(seen: list[Observation]) -> None:
    one = seen[0]
    others = [
        Observation(one.blocks, True, workload, 1.0)
        for workload in (Workload(1, 32), Workload(1, 32, 2), Workload(1, 32, 1, "int8"), Workload(1, 33))
    ]
    assert len({tuple(row) for row in coordinates(others).tolist()}) == 4
