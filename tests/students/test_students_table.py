"""Students as rows of blocks: sums and flags over blocks agree with a loop over specs."""

import numpy as np
import pytest

from students.spec import ConvolutionLayer, Head, StudentSpec, TransformerLayer, uniform_spec
from students.table import BlockTable

SPECS = [
    uniform_spec(2, 24, 3, 40, vocabulary_size=50, maximum_positions=16),
    StudentSpec(12, 24, (ConvolutionLayer(3, 40), TransformerLayer(3, 24, 40)), 50, 16, head=Head("tokens", 3)),
    uniform_spec(4, 24, 3, 40, vocabulary_size=50, maximum_positions=16, head=Head("none")),
]


def test_rows_are_the_blocks_of_the_specs_and_each_block_is_kept_once() -> None:
    table = BlockTable.from_specs(SPECS)
    assert [table.row(n) for n in range(len(table))] == [spec.blocks() for spec in SPECS]
    assert len(set(table.blocks)) == len(table.blocks) < sum(len(spec.blocks()) for spec in SPECS)


def test_totals_count_a_block_as_often_as_it_stands_in_a_row() -> None:
    table = BlockTable.from_specs(SPECS)
    assert table.total([block.parameters() for block in table.blocks]).tolist() == [s.parameters() for s in SPECS]
    both = table.total([(block.flops(2, 7), 1) for block in table.blocks])
    assert both.tolist() == [[spec.flops(2, 7), len(spec.blocks())] for spec in SPECS]


def test_flags_are_those_of_the_rows_own_blocks() -> None:
    table = BlockTable.from_specs(SPECS)
    plain = [block in SPECS[2].blocks() for block in table.blocks]
    expected = [all(block in SPECS[2].blocks() for block in spec.blocks()) for spec in SPECS]
    assert table.all(plain).tolist() == expected == [False, False, True]
    assert table.all(np.ones(len(table.blocks), dtype=bool)).all()


def test_a_part_of_the_rows_keeps_the_numbers_of_the_blocks() -> None:
    table = BlockTable.from_specs(SPECS)
    for rows in (slice(1, 3), np.array([1, 2]), np.array([False, True, True])):
        part = table.take(rows)
        assert part.blocks == table.blocks and [part.row(n) for n in (0, 1)] == [s.blocks() for s in SPECS[1:]]


def test_rows_without_blocks_and_no_rows_at_all() -> None:
    empty = BlockTable.from_blocks([(), SPECS[0].blocks()])
    ones = np.ones(len(empty.blocks))
    assert empty.total(ones).tolist() == [0, 4]
    assert empty.all(ones > 2).tolist() == [True, False]
    nothing = BlockTable.from_specs([])
    assert len(nothing) == 0 and nothing.total(np.zeros((0, 3))).shape == (0, 3)


def test_numbers_of_other_blocks_are_refused() -> None:
    with pytest.raises(ValueError, match="2 rows of values"):
        BlockTable.from_specs(SPECS).total([1.0, 2.0])
