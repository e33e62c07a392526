"""Many students at once: their distinct blocks, and which of them each student is made of."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from students.spec import Block, StudentSpec

Column = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.int32]
Selection = slice | npt.NDArray[np.int64] | npt.NDArray[np.bool_]
ABSENT = -1
"""The number of no block: it fills rows that are shorter than the longest."""


def sums_of_rows(padded: Column, index: Numbers) -> Column:
    """Numbers of each block and a last row of zeros, [blocks + 1] or [blocks + 1, f] → sums over the rows of `index`.

    `index` [n, width] is a `BlockTable`'s; [n] or [n, f].
    """
    sums: Column = np.zeros((len(index), *padded.shape[1:]))
    part = np.empty_like(sums)
    for column in index.T:
        # Wrapping makes `ABSENT` the last row, and is far faster than indexing, which checks every number.
        np.take(padded, column, axis=0, out=part, mode="wrap")
        sums += part
    return sums


@dataclass(frozen=True, eq=False)
class BlockTable:
    """n students (or parts of students) as rows of block numbers.

    Whatever is known of each block is known of a student as a sum over its blocks; one that a row holds twice counts
    twice.
    """

    blocks: tuple[Block, ...]
    """Each block once."""
    index: Numbers
    """Places in `blocks`, [n, width], in the order they run; `ABSENT` anywhere where there is none."""

    def __len__(self) -> int:
        return len(self.index)

    @classmethod
    def from_blocks(cls, rows: Iterable[Sequence[Block]]) -> "BlockTable":
        """One row a sequence of blocks."""
        numbers: dict[Block, int] = {}
        found = [[numbers.setdefault(block, len(numbers)) for block in row] for row in rows]
        index = np.full((len(found), max(map(len, found), default=0)), ABSENT, dtype=np.int32)
        for n, row in enumerate(found):
            index[n, : len(row)] = row
        return cls(tuple(numbers), index)

    @classmethod
    def from_specs(cls, specs: Iterable[StudentSpec]) -> "BlockTable":
        """One row a student."""
        return cls.from_blocks(spec.blocks() for spec in specs)

    def row(self, n: int) -> tuple[Block, ...]:
        """The blocks of row `n`, in the order they run."""
        return tuple(self.blocks[number] for number in self.index[n] if number != ABSENT)

    def take(self, rows: Selection) -> "BlockTable":
        """Some rows; the blocks keep their numbers."""
        return BlockTable(self.blocks, self.index[rows])

    def total(self, values: npt.ArrayLike) -> Column:
        """Numbers of each block, [blocks] or [blocks, f] → their sum over each row's blocks, [n] or [n, f]."""
        known = np.asarray(values, dtype=np.float64)
        if len(known) != len(self.blocks):
            raise ValueError(f"{len(known)} rows of values for {len(self.blocks)} blocks.")
        return sums_of_rows(np.concatenate([known, np.zeros((1, *known.shape[1:]))]), self.index)

    def most(self, values: npt.ArrayLike) -> Column:
        """Numbers of each block [blocks], none below 0 → the largest of each row's blocks, [n]."""
        known = np.append(np.asarray(values, dtype=np.float64), 0.0)
        if len(known) != len(self.blocks) + 1:
            raise ValueError(f"{len(known) - 1} rows of values for {len(self.blocks)} blocks.")
        largest: Column = np.zeros(len(self.index))
        for column in self.index.T:
            np.maximum(largest, np.take(known, column, mode="wrap"), out=largest)
        return largest

    def all(self, flags: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """A flag of each block, [blocks] → whether it is set for all of a row's blocks, [n]."""
        return np.asarray(self.total(~np.asarray(flags, dtype=np.bool_)) == 0)
