"""In which order processes take their turns at batches: apart in time, so that no batch is timed in one mood alone."""

from collections.abc import Callable, Iterator

BATCHES_APART = 8
"""A process is so many batches behind the one before it. The speed of a shared machine changes by the minute, and what
the reference sees of that is not all: what three moments agree on is the model's."""


def turns(
    batches: int, processes: int, may_begin: Callable[[int], bool], apart: int = BATCHES_APART
) -> Iterator[tuple[int, int]]:
    """(batch, process) in the order of measuring; each process takes the batches in the order of their numbers.

    `may_begin` is asked before another batch begins, with the number of turns still owed to those that have; once it
    says no, the others catch up, and it is asked again.
    """
    taken = [0] * processes

    def waits_for(process: int, begins: bool) -> int:
        """Batches that the process must stay behind the one before it: none once that has no more to come."""
        more = taken[process - 1] < taken[0] or (begins and taken[0] < batches)
        return apart if more else 0

    while True:
        before = sum(taken)
        begins = taken[0] < batches and may_begin(processes * taken[0] - before)
        for process in range(processes):
            ready = begins if process == 0 else taken[process - 1] - taken[process] > waits_for(process, begins)
            if ready:
                yield taken[process], process
                taken[process] += 1
        if sum(taken) == before:
            return
