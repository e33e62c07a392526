"""What a run says while it works: lines and bars on standard error, so that standard output stays for results."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

LINE_INTERVAL_SECONDS = 10.0
"""Away from a terminal, in a log file or a CI run, a task says where it is no more often than this."""

LEAST_SHARE = 0.05
"""Share of a task that its first units must be for the time left to be told by them."""

SPEED_PERIOD_SECONDS = 300.0
"""Steps of training take seconds each; rich's own 30 s would see too few of them to tell the time left."""


class Task(Protocol):
    """A piece of work of known size that is under way."""

    def advance(self, n: int = 1) -> None:
        """Say that `n` more units are done."""


class Progress:
    """Speaks on standard error: bars with the time left on a terminal, else plain lines; silent where `quiet`."""

    def __init__(
        self, quiet: bool = False, console: Console | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._console = console or Console(stderr=True)
        self._quiet = quiet
        self._clock = clock
        self._bars = Bars(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=self._console,
            speed_estimate_period=SPEED_PERIOD_SECONDS,
            redirect_stdout=False,
        )
        self._open_bars = 0

    def say(self, text: str) -> None:
        """One line, above the bars where there are any."""
        if not self._quiet:
            self._console.print(text, markup=False, highlight=False, emoji=False, soft_wrap=True)

    @contextmanager
    def task(self, label: str, total: int, done: int = 0) -> Iterator[Task]:
        """A task of `total` units, `done` of them by an earlier run; tasks may stand inside one another."""
        if self._quiet:
            yield _Silence()
        elif self._console.is_terminal:
            yield from self._bar(label, total, done)
        else:
            lines = _Lines(self, label, total, done, self._clock)
            yield lines
            lines.close()

    def _bar(self, label: str, total: int, done: int) -> Iterator[Task]:
        """All open tasks share one display, for a terminal has room for only one."""
        if self._open_bars == 0:
            self._bars.start()
        self._open_bars += 1
        task = self._bars.add_task(label, total=total, completed=done)
        try:
            yield _Bar(lambda n: self._bars.advance(task, n))
        finally:
            self._open_bars -= 1
            if self._open_bars == 0:
                self._bars.stop()
            self._bars.remove_task(task)


class _Silence:
    def advance(self, n: int = 1) -> None:
        pass


class _Bar:
    def __init__(self, move: Callable[[float], None]) -> None:
        self._move = move

    def advance(self, n: int = 1) -> None:
        self._move(n)


class _Lines:
    def __init__(self, progress: Progress, label: str, total: int, done: int, clock: Callable[[], float]) -> None:
        self._progress = progress
        self._label = label
        self._total = total
        self._done = self._first = done
        self._clock = clock
        self._start = self._last = clock()
        self._begun: tuple[float, int] | None = None
        self._spoke = False

    def advance(self, n: int = 1) -> None:
        self._done += n
        now = self._clock()
        self._begun = self._begun or (now, self._done)
        if now - self._last >= LINE_INTERVAL_SECONDS:
            self._last, self._spoke = now, True
            self._progress.say(f"{self._label}: {self._done}/{self._total}, {self._time_left(now)}")

    def close(self) -> None:
        """A task that spoke also says its end; one that was over in seconds says nothing."""
        if self._spoke:
            took = duration_text(self._clock() - self._start)
            self._progress.say(f"{self._label}: {self._done}/{self._total}, took {took}")

    def _time_left(self, now: float) -> str:
        assert self._begun is not None
        since, done = self._begun
        if done == self._done:
            # The first units alone: what came before them, such as starting processes, comes once.
            if self._done - self._first < LEAST_SHARE * (self._total - self._first):
                return "time left unknown"
            since, done = self._start, self._first
        left = (now - since) / (self._done - done) * max(0, self._total - self._done)
        return f"about {duration_text(left)} left"


def duration_text(seconds: float) -> str:
    """Seconds as people say them: `42 s`, `3 min 05 s`, `2 h 07 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
