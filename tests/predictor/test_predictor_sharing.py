"""How units of work are dealt to threads, beside what ONNX Runtime was seen to do."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.workload import Workload
from predictor.sharing import busiest_units, shared
from predictor.terms import BLOCK_TERMS, block_terms
from students.spec import LayerBlock, TransformerLayer

MUCH = 1e7
"""Cycles of a unit that is worth a thread of its own."""


def busiest(units: int, cycles: float, threads: int) -> float:
    return float(busiest_units(np.array([float(units)]), np.array([cycles]), threads)[0])


# As `benchmarks/attention_heads.py` sees it on ONNX Runtime 1.31: three heads take longer than four.
@pytest.mark.parametrize(("heads", "dealt"), [(1, 1), (2, 1), (3, 3), (4, 2), (5, 3), (6, 3), (8, 4), (9, 5), (12, 6)])
def test_two_threads_get_heads_in_blocks_and_three_heads_not_at_all(heads: int, dealt: int) -> None:
    assert busiest(heads, MUCH, 2) == dealt


def test_small_work_stays_with_one_thread() -> None:
    assert busiest(12, 1000.0, 2) == 12
    assert shared(np.array([200_000.0, 220_000.0]), 2).tolist() == [False, True]
    assert not shared(np.array([MUCH]), 1).any()


@given(st.integers(1, 600), st.floats(1.0, 1e8), st.integers(1, 16))
def test_the_busiest_thread_has_no_less_than_its_share_and_no_more_than_all(
    units: int, cycles: float, threads: int
) -> None:
    found = busiest(units, cycles, threads)
    assert units / threads <= found <= units
    assert found == int(found)


def test_three_heads_are_more_idle_than_four_in_the_terms_of_two_threads() -> None:
    blocks = [LayerBlock(192, TransformerLayer(heads, 32 * heads, 64)) for heads in (3, 4)]
    place = BLOCK_TERMS.index("attention_dealt_idle_scores")
    odd, even = block_terms(blocks, Workload(1, 384, 2, "fp32"))[0][:, place]
    assert odd == pytest.approx(3 * 384**2 / 1e6) and even == 0
    assert not block_terms(blocks, Workload(1, 384, 1, "fp32"))[0][:, place].any()
