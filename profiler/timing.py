"""Whose turn it is at which cells: first at all that lack samples, then at those that have to be taken again."""

from collections import defaultdict
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
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

FIRST_SHARE = 0.75
"""Of the time up to a deadline: after it what is in doubt comes first, and what is new only then."""

Known = defaultdict[tuple[Cell, int], dict[int, float]]
"""(cell, process) → round → milliseconds: what is stored."""


def missing_rounds(known: Known, cell: Cell, process: int, policy: Policy) -> tuple[int, ...]:
    """The rounds that every cell is to have and this one has not."""
    return tuple(number for number in range(policy.rounds) if number not in known[cell, process])


def is_whole(known: Known, cell: Cell, processes: int, policy: Policy) -> bool:
    """Whether as many processes have all rounds of a cell as time it at least."""
    complete = sum(not missing_rounds(known, cell, process, policy) for process in range(processes))
    return complete >= policy.visits_among(processes)


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
    say: Callable[[str], None]


@dataclass
class Pace:
    """What turns have taken so far, for so many cells in all."""

    seconds: float = 0.0
    cells: int = 0

    def of(self, cells: float) -> float:
        """Seconds for so many further cells; 0 where nothing is known yet."""
        return cells * self.seconds / max(self.cells, 1)


def _timed(measuring: Measuring, cells: Sequence[Cell], known: Known, pace: Pace) -> Iterator[Sample | Turn]:
    """Samples and turns of what the cells lack; `known` is to grow with the samples."""
    policy, processes = measuring.policy, measuring.processes
    order = list(batches(measuring.items, cells, policy))
    visitors = {cell: _visitors(known, cell, number, measuring) for number, batch in enumerate(order) for cell in batch}
    tasks = {
        (number, process): _tasks(known, [cell for cell in batch if process in visitors[cell]], process, policy)
        for number, batch in enumerate(order)
        for process in range(processes)
    }
    yield from _taken(measuring, len(order), tasks, known, pace)


def _visitors(known: Known, cell: Cell, batch: int, measuring: Measuring) -> list[int]:
    """The processes that time a cell at first: those that have begun to, and others in turn from batch to batch."""
    everyone = [(batch + step) % measuring.processes for step in range(measuring.processes)]
    begun = [process for process in everyone if known[cell, process]]
    others = [process for process in everyone if process not in begun]
    return [*begun, *others][: max(len(begun), measuring.policy.visits_among(measuring.processes))]


def _retaken(
    measuring: Measuring, cells: Sequence[Cell], known: Known, pace: Pace, retake: int
) -> Iterator[Sample | Turn]:
    """Further rounds for cells whose fastest sample no second process confirms: in another one, or else in those."""
    policy = measuring.policy
    most = retake * policy.rounds + policy.extra_rounds
    again = {cell: _doubting(known, cell, measuring.processes, most) for cell in cells}
    doubted = [cell for cell in cells if again[cell]]
    if doubted and measuring.deadline is None:
        # With a deadline nobody waits for it, and many a short stage would say so.
        measuring.say(f"timing {len(doubted)} of {len(cells)} cells again, which no second process confirms")
    order = list(batches(measuring.items, doubted, policy))
    tasks = {
        (number, process): tuple(
            _further(known[cell, process], cell, policy) for cell in batch if process in again[cell]
        )
        for number, batch in enumerate(order)
        for process in range(measuring.processes)
    }
    yield from _taken(measuring, len(order), tasks, known, pace)


def _doubting(known: Known, cell: Cell, processes: int, most: int) -> list[int]:
    """If no two processes had a quiet moment for a cell: one that was not asked yet, or else those that had none.

    Not those with more than `most` rounds, and none for a cell that was never timed.
    """
    fastest = {process: min(found.values()) for process in range(processes) if (found := known[cell, process])}
    doubting = [process for process, best in fastest.items() if best > CONFIRMED * min(fastest.values())]
    if not fastest or len(fastest) - len(doubting) > 1:
        return []
    fresh = [process for process in range(processes) if process not in fastest]
    if fresh:
        return fresh[:1]
    return [process for process in doubting if len(known[cell, process]) <= most]


def _further(known: Mapping[int, float], cell: Cell, policy: Policy) -> Task:
    """As many rounds as every cell has, beyond those that this one has."""
    first = max(known, default=-1) + 1
    return Task(cell, tuple(range(first, first + policy.rounds)), dict(known))


def _taken(
    measuring: Measuring, batches: int, tasks: Mapping[tuple[int, int], tuple[Task, ...]], known: Known, pace: Pace
) -> Iterator[Sample | Turn]:
    """Samples and turns, batch by batch, of the tasks by number of the batch and process."""
    wanted = sorted({process for (_, process), some in tasks.items() if some})
    cells_a_turn = sum(map(len, tasks.values())) / max(len(tasks), 1)

    def in_time(owed: int) -> bool:
        """Whether one more batch would be through its processes before the deadline, at the pace so far."""
        needed = pace.of(cells_a_turn * (owed + measuring.processes))
        return measuring.deadline is None or time() + needed < measuring.deadline

    for number, process in turns(batches, measuring.processes, in_time):
        own = tasks[number, process]
        if not own:
            continue
        measuring.crew.prepare(wanted)
        began = time()
        first = _first_rounds(known, own, process, measuring.reference) if measuring.reference else {}
        needed = {task.cell.key for task in own} | ({measuring.reference} if measuring.reference else set())
        used = {key: measuring.items[key] for key in measuring.items if key in needed}
        yield from measuring.crew.turn(process, Batch(used, own, measuring.policy, measuring.reference, first))
        pace.seconds += time() - began
        pace.cells += len(own)


def _first_rounds(known: Known, tasks: Sequence[Task], process: int, reference: str) -> dict[Workload, int]:
    """The reference's workloads beside these tasks, and the round from which each is counted on."""
    workloads = dict.fromkeys(reference_workload(task.cell.workload) for task in tasks)
    return {workload: max(known[Cell(reference, workload), process], default=-1) + 1 for workload in workloads}


def taken_in_turns(measuring: Measuring, cells: Sequence[Cell], known: Known) -> Generator[Sample | Turn, None, None]:
    """Samples and turns of everything; `known` is to grow with the samples."""
    deadline, pace = measuring.deadline, Pace()
    first = None if deadline is None else time() + FIRST_SHARE * (deadline - time())
    yield from _timed(replace(measuring, deadline=first), cells, known, pace)
    for retake in range(1, measuring.policy.retakes + 1):
        yield from _retaken(measuring, cells, known, pace, retake)
    if deadline is not None:
        yield from _timed(measuring, cells, known, pace)
