"""The comparison protocol: intervals that cover, pairing that helps, and a table that never hides the baseline."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

PLACE = Path(__file__).parents[2] / "benchmarks" / "protocol.py"


def _load() -> ModuleType:
    found = importlib.util.spec_from_file_location("benchmarks_protocol", PLACE)
    assert found is not None and found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules["benchmarks_protocol"] = module
    found.loader.exec_module(module)
    return module


protocol = _load()


def test_interval_of_one_seed_agrees_with_the_binomial_error() -> None:
    correct = np.arange(1000) < 800
    interval = protocol.mean_interval(correct)
    error = np.sqrt(0.8 * 0.2 / 1000)
    assert interval.mean == pytest.approx(0.8)
    assert interval.low == pytest.approx(0.8 - 1.96 * error, abs=0.004)
    assert interval.high == pytest.approx(0.8 + 1.96 * error, abs=0.004)


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for trial in range(200):
        interval = protocol.mean_interval(rng.random((1, 300)) < 0.7, draws=400, seed=trial)
        covered += interval.low <= 0.7 <= interval.high
    assert 180 <= covered <= 199


def test_seeds_that_differ_widen_the_interval() -> None:
    rng = np.random.default_rng(1)
    alike = rng.random((4, 2000)) < 0.8
    apart = rng.random((4, 2000)) < np.array([[0.6], [0.7], [0.9], [1.0]])
    narrow, wide = protocol.mean_interval(alike), protocol.mean_interval(apart)
    assert wide.high - wide.low > 3 * (narrow.high - narrow.low)


def test_pairing_sees_a_difference_that_separate_intervals_hide() -> None:
    rng = np.random.default_rng(2)
    base = rng.random(1000) < 0.8
    better = base.copy()
    better[np.flatnonzero(~base)[:15]] = True
    difference = protocol.paired_bootstrap(better, base)
    assert difference.mean == pytest.approx(0.015)
    assert difference.decided
    assert protocol.mean_interval(better).low < protocol.mean_interval(base).high


def test_equal_methods_are_not_decided() -> None:
    rng = np.random.default_rng(3)
    assert not protocol.paired_bootstrap(rng.random((3, 500)) < 0.8, rng.random((3, 500)) < 0.8).decided


@given(st.lists(st.booleans(), min_size=2, max_size=60), st.integers(0, 5))
def test_the_mean_lies_inside_and_swapping_changes_the_sign(values: list[bool], seed: int) -> None:
    other = values[::-1]
    one = protocol.paired_bootstrap(values, other, draws=50, seed=seed)
    two = protocol.paired_bootstrap(other, values, draws=50, seed=seed)
    assert one.low - 1e-12 <= one.high
    assert one.low == pytest.approx(-two.high)
    assert one.mean == pytest.approx(-two.mean)


def test_one_row_is_paired_with_every_seed() -> None:
    seeds = np.array([[1, 0, 1, 1], [1, 1, 1, 1]])
    assert protocol.paired_bootstrap(seeds, [1, 0, 1, 0]).mean == pytest.approx(7 / 8 - 1 / 2)


@pytest.mark.parametrize("other", [np.ones(7), np.ones((3, 8)), np.full(8, np.nan), np.ones((0, 8))])
def test_what_cannot_be_paired_is_refused(other: np.ndarray) -> None:
    with pytest.raises(ValueError):
        protocol.paired_bootstrap(np.ones((2, 8)), other)


def test_gap_kept() -> None:
    assert protocol.gap_kept(0.87, 0.88, 0.78) == pytest.approx(0.9)
    assert protocol.gap_kept(0.7, 0.8, 0.9) is None


def test_table_holds_both_baselines_and_says_when_the_task_decides_nothing() -> None:
    rng = np.random.default_rng(4)
    teacher, weak = rng.random(800) < 0.9, rng.random(800) < 0.7
    students = {"sliced": rng.random((2, 800)) < 0.88, "random": rng.random((2, 800)) < 0.75}
    table = protocol.score_table(students, teacher, weak)
    for name in ("bag-of-words", "sliced", "random", "teacher"):
        assert f"| {name} |" in table
    assert "decides nothing" not in table
    assert "decides nothing" in protocol.score_table(students, teacher, teacher)
