"""What a predictor learns from: blocks that ran together on a workload, and how long they took."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from devices.workload import Precision, Workload
from predictor.physics import Matrix, Vector
from students.spec import Block, StudentSpec
from students.table import BlockTable

Circumstances = tuple[int, Precision]
"""Threads and precision: what latency does not simply scale with, so each pair has a law of its own."""

Students = Sequence[StudentSpec] | BlockTable


@dataclass(frozen=True)
class Observation:
    """`latency_ms` of `blocks` run one after another; `whole` where they are a student from ids to answer.

    `weight` is how much it counts beside one that is known as well as most.
    """

    blocks: tuple[Block, ...]
    whole: bool
    workload: Workload
    latency_ms: float
    weight: float = 1.0


@dataclass(frozen=True)
class Rows:
    """Observations of one pair of circumstances as arrays, all of n rows."""

    table: BlockTable
    workloads: tuple[Workload, ...]
    whole: npt.NDArray[np.bool_]
    latency_ms: Vector
    weights: Vector
    groups: npt.NDArray[np.int64]
    """Equal for equal blocks, so that one student on two workloads is never both learnt from and tested on."""

    @property
    def whole_students(self) -> int:
        """How many different whole students there are."""
        return len(set(self.groups[self.whole].tolist()))


def as_table(students: Students) -> BlockTable:
    """The students as rows of blocks."""
    return students if isinstance(students, BlockTable) else BlockTable.from_specs(students)


def circumstances(workload: Workload) -> Circumstances:
    """Which law the workload falls under."""
    return workload.threads, workload.precision


def by_circumstances(observations: Iterable[Observation]) -> dict[Circumstances, Rows]:
    """Observations sorted into one `Rows` for each threads and precision."""
    sorted_out: dict[Circumstances, list[Observation]] = {}
    for one in observations:
        sorted_out.setdefault(circumstances(one.workload), []).append(one)
    return {pair: _rows(sorted_out[pair]) for pair in sorted(sorted_out)}


def _rows(observations: Sequence[Observation]) -> Rows:
    numbers: dict[tuple[Block, ...], int] = {}
    return Rows(
        table=BlockTable.from_blocks([one.blocks for one in observations]),
        workloads=tuple(one.workload for one in observations),
        whole=np.array([one.whole for one in observations]),
        latency_ms=np.array([one.latency_ms for one in observations]),
        weights=np.array([one.weight for one in observations]),
        groups=np.array([numbers.setdefault(one.blocks, len(numbers)) for one in observations]),
    )


def per_workload(rows: Rows, describe: Callable[[BlockTable, Workload], Matrix]) -> Matrix:
    """`describe(table, workload)` [n, f] for rows of several workloads, in the order of the rows."""
    positions: dict[Workload, list[int]] = {}
    for position, workload in enumerate(rows.workloads):
        positions.setdefault(workload, []).append(position)
    parts = [describe(rows.table.take(np.array(where)), workload) for workload, where in positions.items()]
    return np.vstack(parts)[np.argsort(np.concatenate(list(positions.values())))]
