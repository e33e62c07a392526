"""The contract of executors, run over every registered one."""

import pytest

from runs.execution import EXECUTORS


def square(n: int) -> int:
    return n * n


def fail_at_two(n: int) -> int:
    if n == 2:
        raise ZeroDivisionError(n)
    return n


@pytest.mark.parametrize("name", EXECUTORS.names())
class TestExecutorContract:
    def test_results_come_in_order(self, name):
        assert list(EXECUTORS[name]().map(square, range(50))) == [n * n for n in range(50)]

    def test_nothing_gives_nothing(self, name):
        assert list(EXECUTORS[name]().map(square, [])) == []

    def test_an_exception_stands_where_its_result_would(self, name):
        results = EXECUTORS[name]().map(fail_at_two, range(4))
        assert [next(results), next(results)] == [0, 1]
        with pytest.raises(ZeroDivisionError):
            next(results)

    def test_an_executor_serves_more_than_once(self, name):
        executor = EXECUTORS[name]()
        assert list(executor.map(square, [2])) == list(executor.map(square, [2])) == [4]


def test_local_computes_nothing_before_it_is_asked():
    seen = []
    results = EXECUTORS["local"]().map(seen.append, [1, 2])
    assert seen == []
    next(results)
    assert seen == [1]
