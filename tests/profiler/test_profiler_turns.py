"""Every process takes every batch once and in order, minutes after the one before it, and in time."""

import pytest

from profiler.turns import turns


@pytest.mark.parametrize(("batches", "processes", "apart"), [(0, 3, 2), (1, 3, 8), (5, 1, 3), (20, 3, 4), (7, 4, 0)])
def test_each_batch_visits_each_process_once_and_in_order(batches: int, processes: int, apart: int) -> None:
    found = list(turns(batches, processes, lambda owed: True, apart))
    assert sorted(found) == [(batch, process) for batch in range(batches) for process in range(processes)]
    for process in range(processes):
        assert [batch for batch, at in found if at == process] == list(range(batches))
    for batch in range(batches):
        assert [at for one, at in found if one == batch] == list(range(processes))


def test_visits_of_one_batch_lie_apart_as_long_as_there_are_others() -> None:
    found = list(turns(20, 3, lambda owed: True, 4))
    for batch in range(12):
        visits = [place for place, (one, _) in enumerate(found) if one == batch]
        assert min(later - sooner for sooner, later in zip(visits, visits[1:], strict=False)) >= 4


def test_what_has_begun_is_finished_when_no_more_may_begin_and_more_may_begin_later() -> None:
    asked: list[int] = []

    def may_begin(owed: int) -> bool:
        asked.append(owed)
        return owed <= 6

    found = list(turns(9, 3, may_begin, 5))
    assert sorted(found) == [(batch, process) for batch in range(9) for process in range(3)]
    assert max(asked) > 6

    allowed = iter([True] * 4)
    limited = list(turns(9, 3, lambda owed: next(allowed, False), 2))
    assert sorted(limited) == [(batch, process) for batch in range(4) for process in range(3)]
