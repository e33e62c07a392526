"""The parent's end of measuring processes, which live side by side and are asked batch by batch."""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType

from devices.measurement import Sample, Turn
from profiler.job import Answer, Batch, Setup
from runs.errors import UserError

GRAPHS_FOLDER = ".lowered"
"""Of the graphs that the processes share while they live."""

STDERR_SHOWN = 2000
"""Characters of a broken process's last words."""


class MeasuringProcess:
    """A process that is being made ready from now on and ends with `stack`; `say` is told of what it has to say.

    All methods raise `UserError` for what the process could not load and for a process that the system ended.
    """

    def __init__(self, setup: Setup, stack: ExitStack, say: Callable[[str], None]) -> None:
        self._say = say
        words = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115  (lives with `stack`)
        self._last_words = stack.enter_context(words)
        # -P: a module of the user's working folder must not stand in for one of ours.
        command = [sys.executable, "-P", "-m", "profiler.worker"]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._last_words,
            text=True,
            encoding="utf-8",
        )
        stack.callback(self.end)
        self._ask(setup.to_line())

    def wait_until_ready(self) -> None:
        """Return when the next batch would be measured at once."""
        self._answer()

    def turn(self, batch: Batch) -> Iterator[Sample | Turn]:
        """The samples of a batch as they are known, and last what became of the turn."""
        self._ask(batch.to_line())
        while True:
            answer = self._answer()
            if answer.note is not None:
                self._say(answer.note)
            if answer.sample is not None:
                yield answer.sample
            if answer.turn is not None:
                yield answer.turn
                return

    def _ask(self, line: str) -> None:
        assert self._process.stdin
        try:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._broken() from None

    def _answer(self) -> Answer:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise self._broken()
        answer = Answer.from_line(line)
        if answer.error is not None:
            raise UserError(answer.error)
        return answer

    def end(self) -> None:
        """End the process, whatever it is at; more than once does no harm."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream:
                with suppress(BrokenPipeError):
                    stream.close()

    def _broken(self) -> Exception:
        code = self._process.wait()
        if code < 0:
            return UserError(
                f"a measuring process was ended by signal {-code}, most likely for want of memory: "
                "close other programs and run the same command again, it goes on where it was."
            )
        self._last_words.seek(0)
        return RuntimeError(f"a measuring process failed:\n{self._last_words.read()[-STDERR_SHOWN:]}")


class Crew:
    """The measuring processes of a target, each started when it is first needed and alive until this is closed.

    `seed` draws the random weights and the orders; lowered graphs are kept in a folder within `folder` (one that the
    system provides, without) and go at the end; `say` is told what the processes have to say.
    """

    def __init__(
        self, target: str, seed: int = 0, folder: Path | None = None, say: Callable[[str], None] = lambda text: None
    ) -> None:
        self._target, self._seed, self._folder, self._say = target, seed, folder, say
        self._stack = ExitStack()
        self._running: dict[int, MeasuringProcess] = {}
        self._scratch: Path | None = None

    def __enter__(self) -> "Crew":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
        self._running.clear()
        self._scratch = None

    def prepare(self, processes: Iterable[int]) -> None:
        """Have these processes ready; starting takes seconds of all cores, so all start at once and nothing else runs.

        Raises `UserError` as all that follows, for what cannot be loaded and for a process that the system ended.
        """
        fresh = [process for process in processes if process not in self._running]
        for process in fresh:
            setup = Setup(self._target, process, self._seed, self._graphs())
            self._running[process] = MeasuringProcess(setup, self._stack, self._say)
        for process in fresh:
            self._running[process].wait_until_ready()

    def turn(self, process: int, batch: Batch) -> Iterator[Sample | Turn]:
        """The samples of a batch in a process that is ready, and last what became of the turn.

        A process whose samples are not asked for to the end is ended: it would go on measuring beside the next one.
        """
        asked = self._running.pop(process)
        try:
            yield from asked.turn(batch)
        except BaseException:
            asked.end()
            raise
        self._running[process] = asked

    def _graphs(self) -> Path:
        if self._scratch is None:
            if self._folder is None:
                self._scratch = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="tailorbird-")))
            else:
                self._scratch = self._folder / GRAPHS_FOLDER
                # What a run that was killed left there.
                shutil.rmtree(self._scratch, ignore_errors=True)
                self._scratch.mkdir()
                self._stack.callback(shutil.rmtree, self._scratch, ignore_errors=True)
        return self._scratch
