"""Keeping a measurement on as many cores as it has threads, where the system lets a program choose them."""

import os
from collections.abc import Iterable
from pathlib import Path
from time import sleep

REST_SECONDS = 0.02
"""Threads of a runtime go on spinning for some milliseconds after a run; those of another pool must not share a core
with what is timed next."""

CPU_FOLDER = Path("/sys/devices/system/cpu")


def usable_cores() -> tuple[int, ...]:
    """The logical cores this process may use; none where the system does not say."""
    return tuple(sorted(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else ()


def by_worth(cores: Iterable[int], folder: Path = CPU_FOLDER) -> tuple[int, ...]:
    """Logical cores, the best first: faster ones, then one a physical core before its siblings, then high numbers.

    Low numbers usually serve the interrupts. What the system does not say of a core counts as equal.
    """

    def rank(core: int) -> tuple[int, int, int]:
        place = folder / f"cpu{core}"
        siblings = _numbers(_said(place / "topology" / "thread_siblings_list", str(core)))
        older = sum(1 for sibling in siblings if sibling < core)
        return -int(_said(place / "cpu_capacity", "0")), older, -core

    return tuple(sorted(cores, key=rank))


def _said(path: Path, otherwise: str) -> str:
    try:
        return path.read_text().strip() or otherwise
    except OSError:
        return otherwise


def _numbers(text: str) -> list[int]:
    """`0-1,4` → 0, 1, 4."""
    ends = [part.split("-") for part in text.split(",")]
    return [number for first, *last in ends for number in range(int(first), int(last[0] if last else first) + 1)]


class Pinning:
    """Moves the calling thread to as many cores as it is asked for; threads that it starts there stay there.

    So a runtime's own threads share the cores of the workload for which its session was opened. Does nothing where
    there are fewer cores than threads, or the system knows no affinity.
    """

    def __init__(self) -> None:
        self._all = usable_cores()
        self._cores = by_worth(self._all)
        self._threads = 0

    def use(self, threads: int) -> None:
        """Be on exactly `threads` cores from now on; cheap where nothing changes."""
        if threads == self._threads or not self._cores:
            return
        chosen = self._cores[:threads] if threads <= len(self._cores) else self._all
        os.sched_setaffinity(0, chosen)
        if self._threads:
            sleep(REST_SECONDS)
        self._threads = threads

    def release(self) -> None:
        """Be on every usable core again."""
        if self._cores:
            os.sched_setaffinity(0, self._all)
        self._threads = 0
