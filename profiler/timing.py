"""Whose turn it is at which cells: first at all that lack samples, then at those that have to be taken again."""

from collections import defaultdict
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from time import time

from devices.measurement import Cell, Sample, Turn
from devices.reference import reference_workload
from devices.stopwatch import Policy, unsure
from devices.workload import Workload
from export.items import Item
from profiler.batches import batches
from profiler.job import Batch, Task
from profiler.measuring_process import Crew
from profiler.turns import turns

CONFIRMED = 1.03
"""A process whose fastest sample took no longer than this many times the fastest of all confirms it. Where another one
does, minutes apart, that was the model and no lucky moment; where none does, the others had no quiet moment."""

Known = defaultdict[tuple[Cell, int], dict[int, float]]
"""(cell, process) → round → milliseconds: what is stored."""


def missing_rounds(known: Known, cell: Cell, process: int, policy: Policy) -> tuple[int, ...]:
    """The rounds that every cell is to have and this one has not."""
    return tuple(number for number in range(policy.rounds) if number not in known[cell, process])


def _tasks(known: Known, cells: Sequence[Cell], process: int, policy: Policy) -> tuple[Task, ...]:
    """What is to be done in one process: cells that lack rounds, or whose median is not sure enough yet."""
    tasks = [Task(cell, missing_rounds(known, cell, process, policy), dict(known[cell, process])) for cell in cells]
    return tuple(task for task in tasks if task.missing or unsure(task.known.values(), policy))


@dataclass(frozen=True)
class Measuring:
    """What all turns of one call share; see `measure_cells`."""

    crew: Crew
    items: Mapping[str, Item]
    policy: Policy
    processes: int
    reference: str | None
    deadline: float | None


def _timed(measuring: Measuring, cells: Sequence[Cell], known: Known) -> Iterator[Sample | Turn]:
    """Samples and turns of what the cells lack; `known` is to grow with the samples."""
    order = list(batches(measuring.items, cells, measuring.policy))
    tasks = {
        (number, process): _tasks(known, batch, process, measuring.policy)
        for number, batch in enumerate(order)
        for process in range(measuring.processes)
    }
    yield from _taken(measuring, len(order), tasks, known)


def _retaken(measuring: Measuring, cells: Sequence[Cell], known: Known, retake: int) -> Iterator[Sample | Turn]:
    """Further rounds for cells whose fastest sample no second process confirms, in those that do not."""
    policy = measuring.policy
    most = retake * policy.rounds + policy.extra_rounds
    again = {cell: _doubting(known, cell, measuring.processes, most) for cell in cells}
    order = list(batches(measuring.items, [cell for cell in cells if again[cell]], policy))
    tasks = {
        (number, process): tuple(
            _further(known[cell, process], cell, policy) for cell in batch if process in again[cell]
        )
        for number, batch in enumerate(order)
        for process in range(measuring.processes)
    }
    yield from _taken(measuring, len(order), tasks, known)


def _doubting(known: Known, cell: Cell, processes: int, most: int) -> list[int]:
    """The processes without a quiet moment for a cell, if no two had one; not those with more than `most` rounds."""
    fastest = {process: min(found.values()) for process in range(processes) if (found := known[cell, process])}
    doubting = [process for process, best in fastest.items() if best > CONFIRMED * min(fastest.values())]
    if len(fastest) - len(doubting) > 1:
        return []
    return [process for process in doubting if len(known[cell, process]) <= most]


def _further(known: Mapping[int, float], cell: Cell, policy: Policy) -> Task:
    """As many rounds as every cell has, beyond those that this one has."""
    first = max(known, default=-1) + 1
    return Task(cell, tuple(range(first, first + policy.rounds)), dict(known))


def _taken(
    measuring: Measuring, batches: int, tasks: Mapping[tuple[int, int], tuple[Task, ...]], known: Known
) -> Iterator[Sample | Turn]:
    """Samples and turns, batch by batch, of the tasks by number of the batch and process."""
    wanted = {process for (_, process), some in tasks.items() if some}
    began, done = time(), 0

    def in_time(owed: int) -> bool:
        """Whether one more batch would be through all processes before the deadline, at the pace so far."""
        pace = (time() - began) / max(done, 1)
        needed = pace * (owed + measuring.processes if done else 0)
        return measuring.deadline is None or time() + needed < measuring.deadline

    for number, process in turns(batches, measuring.processes, in_time):
        own = tasks[number, process]
        if not own:
            continue
        if not done:
            measuring.crew.prepare(sorted(wanted))
            began = time()
        first = _first_rounds(known, own, process, measuring.reference) if measuring.reference else {}
        needed = {task.cell.key for task in own} | ({measuring.reference} if measuring.reference else set())
        used = {key: measuring.items[key] for key in measuring.items if key in needed}
        yield from measuring.crew.turn(process, Batch(used, own, measuring.policy, measuring.reference, first))
        done += 1


def _first_rounds(known: Known, tasks: Sequence[Task], process: int, reference: str) -> dict[Workload, int]:
    """The reference's workloads beside these tasks, and the round from which each is counted on."""
    workloads = dict.fromkeys(reference_workload(task.cell.workload) for task in tasks)
    return {workload: max(known[Cell(reference, workload), process], default=-1) + 1 for workload in workloads}


def taken_in_turns(measuring: Measuring, cells: Sequence[Cell], known: Known) -> Generator[Sample | Turn, None, None]:
    """Samples and turns of everything; `known` is to grow with the samples."""
    yield from _timed(measuring, cells, known)
    for retake in range(1, measuring.policy.retakes + 1):
        yield from _retaken(measuring, cells, known, retake)
