"""A measuring process: told once what it is for, then asked batch by batch; it ends with its parent."""

import gc
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from time import time

import numpy as np
import psutil

import devices.targets  # noqa: F401  (fills the registry)
from devices.affinity import Pinning
from devices.guard import Guard
from devices.measurement import Cell, Sample, Turn
from devices.stopwatch import Circumstances, Reference, measure
from devices.target import Session, open_target
from export.lowering_cache import LoweringCache
from profiler.job import Answer, Batch, Setup
from runs.child import answers_only, requests
from runs.errors import UserError


def stolen_seconds() -> float:
    """Processor time that a hypervisor gave to others since the start of the machine, summed over cores."""
    return float(getattr(psutil.cpu_times(), "steal", 0.0))


def label(cell: Cell) -> str:
    """A session's key: one item may be open for several workloads at once."""
    return f"{cell.key} {cell.workload.key}"


class Bench:
    """The state of one measuring process: its target, where it runs, and the references it has open."""

    def __init__(self, setup: Setup, say: Callable[[str], None]) -> None:
        self._setup = setup
        self._target = open_target(setup.target)
        self._cache = LoweringCache(setup.scratch)
        self._rng = np.random.default_rng([setup.seed, setup.process])
        self._pinning = Pinning()
        self._guard = Guard(say)
        self._references: dict[Cell, Session] = {}

    def turn(self, batch: Batch) -> Iterator[Answer]:
        """Measure what the batch lacks; every sample as it is known, and then what became of the turn."""
        started_at, stolen = time(), stolen_seconds()
        rounds, repeated, paused = self._guard.rounds, self._guard.repeated_rounds, self._guard.paused_seconds
        with ExitStack() as held:
            for sample in self._samples(batch, held):
                yield Answer(sample=sample)
        gc.collect()
        yield Answer(
            turn=Turn(
                self._setup.process,
                started_at,
                time() - started_at,
                self._guard.rounds - rounds,
                self._guard.repeated_rounds - repeated,
                stolen_seconds() - stolen,
                self._guard.paused_seconds - paused,
            )
        )

    def _samples(self, batch: Batch, held: ExitStack) -> Iterator[Sample]:
        cells = {label(task.cell): task.cell for task in batch.tasks}
        own: dict[str, Cell] = {}
        references = []
        for workload, first_round in batch.first_rounds.items():
            assert batch.reference is not None
            cell = Cell(batch.reference, workload)
            own[label(cell)] = cell
            references.append(Reference(label(cell), self._reference(batch, cell), first_round))
        sessions: dict[str, Session] = {}
        for name, cell in cells.items():
            sessions[name] = self._open(batch, cell)
            held.callback(sessions[name].close)
        circumstances = Circumstances(
            {name: cell.workload.threads for name, cell in {**cells, **own}.items()},
            self._pinning if batch.policy.pinned else None,
            {label(task.cell): task.known for task in batch.tasks},
            self._guard,
        )
        missing = {label(task.cell): task.missing for task in batch.tasks}
        for reading in measure(sessions, missing, batch.policy, self._rng, references, circumstances):
            cell = own.get(reading.key) or cells[reading.key]
            process = self._setup.process
            yield Sample(cell.key, cell.workload, process, reading.round, reading.milliseconds, reading.taken_at)

    def _reference(self, batch: Batch, cell: Cell) -> Session:
        """The reference's session for a workload, which stays open."""
        if cell not in self._references:
            self._references[cell] = self._open(batch, cell)
        return self._references[cell]

    def _open(self, batch: Batch, cell: Cell) -> Session:
        # Lowering may start threads of its own, which must not be bound to the cores of one workload.
        self._pinning.release()
        item, workload = batch.items[cell.key], cell.workload
        artifact = self._cache.lower(item, self._target.artifact, workload, self._setup.seed)
        if batch.policy.pinned:
            self._pinning.use(workload.threads)
        return self._target.open(artifact, workload)


def main() -> None:
    """Read the setup, say that it is done, and answer batches until the parent has no more."""
    answers = answers_only()

    def answer(given: Answer) -> None:
        answers.write(given.to_line() + "\n")

    lines = requests(sys.stdin)
    try:
        bench = Bench(Setup.from_line(next(lines)), lambda text: answer(Answer(note=text)))
        answer(Answer())
        for line in lines:
            for given in bench.turn(Batch.from_line(line)):
                answer(given)
    except UserError as problem:
        answer(Answer(error=str(problem)))
    answers.flush()
    # Unloading models and runtimes takes a second that nobody needs.
    os._exit(0)


if __name__ == "__main__":
    main()
