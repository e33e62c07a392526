"""What a predictor learns from: blocks that ran together on a workload, and how long they took."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from devices.workload import Precision, Workload
from predictor.physics import Matrix, Vector
from runs.files import content_hash
from students.spec import Block, StudentSpec
from students.table import SpecTable

Circumstances = tuple[int, Precision]
"""Threads and precision: what latency does not simply scale with, so each pair has a law of its own."""

Students = Sequence[StudentSpec] | SpecTable


@dataclass(frozen=True)
class Observation:
    """`latency_ms` of `blocks` run one after another; `whole` where they are a student from ids to answer."""

    blocks: tuple[Block, ...]
    whole: bool
    workload: Workload
    latency_ms: float


@dataclass(frozen=True)
class Rows:
    """Observations of one pair of circumstances as arrays, all of n rows."""

    table: SpecTable
    workloads: tuple[Workload, ...]
    whole: npt.NDArray[np.bool_]
    latency_ms: Vector
    groups: npt.NDArray[np.str_]
    """Equal for equal blocks, so that one student on two workloads is never both learnt from and tested on."""


def as_table(students: Students) -> SpecTable:
    """The students as columns."""
    return students if isinstance(students, SpecTable) else SpecTable.from_specs(students)


def take(table: SpecTable, rows: slice | npt.NDArray[np.int64]) -> SpecTable:
    """Some rows of a table."""
    return SpecTable(**{column.name: getattr(table, column.name)[rows] for column in fields(table)})


def circumstances(workload: Workload) -> Circumstances:
    """Which law the workload falls under."""
    return workload.threads, workload.precision


def by_circumstances(observations: Sequence[Observation]) -> dict[Circumstances, Rows]:
    """Observations sorted into one `Rows` for each threads and precision."""
    return {
        pair: _rows([one for one in observations if circumstances(one.workload) == pair])
        for pair in sorted({circumstances(one.workload) for one in observations})
    }


def _rows(observations: Sequence[Observation]) -> Rows:
    return Rows(
        table=SpecTable.from_blocks([one.blocks for one in observations]),
        workloads=tuple(one.workload for one in observations),
        whole=np.array([one.whole for one in observations]),
        latency_ms=np.array([one.latency_ms for one in observations]),
        groups=np.array([content_hash(repr(one.blocks)) for one in observations]),
    )


def per_workload(rows: Rows, describe: Callable[[SpecTable, Workload], Matrix]) -> Matrix:
    """`describe(table, workload)` [n, f] for rows of several workloads, in the order of the rows."""
    positions: dict[Workload, list[int]] = {}
    for position, workload in enumerate(rows.workloads):
        positions.setdefault(workload, []).append(position)
    parts = [describe(take(rows.table, np.array(where)), workload) for workload, where in positions.items()]
    return np.vstack(parts)[np.argsort(np.concatenate(list(positions.values())))]
