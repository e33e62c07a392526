"""A limit on the time of one run of the command: what is stored stays, and the same command goes on."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic, sleep

from runs.progress import Progress, Task


class TimeIsOver(Exception):
    """The slice given by --minutes has ended."""


class _Watched:
    def __init__(self, task: Task, check: Callable[[], None]) -> None:
        self._task = task
        self._check = check

    def advance(self, n: int = 1) -> None:
        self._task.advance(n)
        self._check()


class LimitedProgress(Progress):
    """Progress that ends the work it watches, between two samples, when the time is over."""

    def __init__(self, minutes: float | None, quiet: bool = False) -> None:
        super().__init__(quiet=quiet)
        self._end = None if minutes is None else monotonic() + 60 * minutes

    def check(self) -> None:
        """Raise `TimeIsOver` once it is."""
        if self._end is not None and monotonic() > self._end:
            raise TimeIsOver

    def rest(self, seconds: float) -> None:
        """Sleep, unless the time is over."""
        self.check()
        sleep(seconds)

    @contextmanager
    def task(self, label: str, total: int, done: int = 0) -> Iterator[Task]:
        self.check()
        with super().task(label, total, done) as task:
            yield _Watched(task, self.check)
