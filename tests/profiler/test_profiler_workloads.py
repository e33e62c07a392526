"""Ranges of workloads: what lies inside, what is drawn from them, what people type."""

from dataclasses import replace

import numpy as np
import pytest

from devices.workload import Workload
from profiler.workloads import WorkloadRange, read_span, workload_range
from runs.errors import UserError

WIDE = WorkloadRange(((16, 512),), (1,), (1, 2), ("fp32", "int8"))


def test_one_workload_is_a_range_of_itself() -> None:
    workload = Workload(8, 33, 2, "int8")
    alone = WorkloadRange.of(workload)
    assert alone.only == workload and alone.key == workload.key
    assert alone.holds(workload) and not alone.holds(Workload(8, 34, 2, "int8"))
    assert alone.corners() == [workload]


def test_a_range_holds_what_lies_between_its_ends() -> None:
    assert WIDE.holds(Workload(1, 16, 1)) and WIDE.holds(Workload(1, 301, 2, "int8"))
    for outside in (Workload(1, 15), Workload(1, 513), Workload(2, 64), Workload(1, 64, 3), Workload(1, 64, 1, "bf16")):
        assert not WIDE.holds(outside)
    assert WIDE.only is None
    assert WorkloadRange(batch_sizes=(8, 1)).holds(Workload(4))


def test_its_parts_cover_it_and_do_not_overlap() -> None:
    parts = list(WIDE.parts())
    assert len(parts) == 4 == len({part.key for part in parts})
    for workload in WIDE.corners():
        assert sum(part.holds(workload) for part in parts) == 1


def test_json_and_back() -> None:
    assert WorkloadRange.from_json(WIDE.to_json()) == WIDE


def test_order_and_repetition_do_not_matter() -> None:
    again = WorkloadRange(((16, 512), (16, 512)), (1,), (2, 1), ("fp32", "int8"))
    assert again == WIDE


def test_lengths_fill_the_range_evenly_in_ratio_and_odd_ones_are_among_them() -> None:
    lengths = np.array([WIDE.length_at(share, 512) for share in np.linspace(0, 1, 2001)])
    assert lengths.min() == 16 and lengths.max() == 512
    assert (lengths % 2 == 1).mean() > 0.4
    assert np.median(lengths) == pytest.approx(np.sqrt(16 * 512), rel=0.05)


def test_lengths_stop_at_what_is_affordable() -> None:
    assert max(WIDE.length_at(share, 100) for share in np.linspace(0, 1, 101)) == 100
    several = WorkloadRange(((32, 32), (128, 128), (200, 512)))
    assert {several.length_at(share, 150) for share in np.linspace(0, 1, 101)} == {32, 128}
    found = [several.length_at(share, 512) for share in np.linspace(0, 0.999, 1000)]
    assert {32, 128} < set(found) and max(found) == 512
    assert all(length in (32, 128) or length >= 200 for length in found)


@pytest.mark.parametrize(("text", "span"), [("128", (128, 128)), ("16-512", (16, 512))])
def test_lengths_as_people_type_them(text: str, span: tuple[int, int]) -> None:
    assert read_span(text) == span


@pytest.mark.parametrize("text", ["", "long", "16-", "-5", "16-32-64", "1.5", "16–32"])
def test_other_lengths_are_refused(text: str) -> None:
    with pytest.raises(UserError, match="--sequence-length is .*16-512"):
        read_span(text)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ((["512-16"], [1], [1], ["fp32"]), "--sequence-length is 512-16.*16-512"),
        ((["0"], [1], [1], ["fp32"]), "--sequence-length is 0"),
        ((["128"], [0], [1], ["fp32"]), "--batch-size is 0"),
        ((["128"], [1], [0], ["fp32"]), "--threads is 0"),
        ((["128"], [1], [1], ["fp33"]), "--precision is 'fp33'"),
        (([], [1], [1], ["fp32"]), "--sequence-length is empty"),
    ],
)
def test_impossible_ranges_are_refused(flags: tuple[list[str], list[int], list[int], list[str]], message: str) -> None:
    with pytest.raises(UserError, match=message):
        workload_range(*flags)


def test_a_profile_is_of_one_number_of_earlier_tokens() -> None:
    many = workload_range(["1-4"], [1, 2], [1], ["fp32"], 64)
    assert many.key == "b1+2-s1..4-t1-fp32-e64" and many == WorkloadRange.from_json(many.to_json())
    assert {one.earlier_tokens for one in many.corners()} == {64} and len(many.corners()) == 4
    inside = many.corners()[0]
    assert many.holds(inside) and not many.holds(replace(inside, earlier_tokens=0))
    assert all(part.earlier_tokens == 64 for part in many.parts())
    assert WorkloadRange.of(inside).only == inside
    assert "earlier_tokens" not in WorkloadRange().to_json(), "what was stored before is still read as it was meant"
