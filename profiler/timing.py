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

CONFIRMED = 1.05
"""A process whose fastest sample took this many times the fastest of all had no quiet moment."""

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
    """Further rounds for cells that had no quiet moment in a process, in that process."""
    policy, shared = measuring.policy, range(measuring.processes)
    most = retake * policy.rounds + policy.extra_rounds

    def again(cell: Cell, process: int) -> bool:
        fastest = [min(found.values()) for other in shared if (found := known[cell, other])]
        mine = known[cell, process]
        return 0 < len(mine) <= most and min(mine.values()) > CONFIRMED * min(fastest)

    order = list(batches(measuring.items, [cell for cell in cells if any(again(cell, at) for at in shared)], policy))
    tasks = {
        (number, process): tuple(_further(known[cell, process], cell, policy) for cell in batch if again(cell, process))
        for number, batch in enumerate(order)
        for process in shared
    }
    yield from _taken(measuring, len(order), tasks, known)


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
