"""Files timed against each other: all open in one process, in rounds of random order, in several processes in turn."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np

import devices.targets  # noqa: F401  (fills the registry)
from devices.measurement import Measurement, Sample
from devices.stopwatch import Policy, Reading, measure
from devices.summary import summarise
from devices.target import OnnxArtifact, Session, open_target
from devices.workload import Workload
from runs.errors import UserError


@dataclass(frozen=True)
class Entry:
    """A file under a name, the target that runs it, and the `.npz` it is fed with (inputs by name)."""

    name: str
    target: str
    file: Path
    inputs: Path
    workload: Workload


@dataclass(frozen=True)
class Job:
    """What one process does."""

    entries: tuple[Entry, ...]
    policy: Policy
    process: int
    seed: int


@dataclass(frozen=True)
class Outcome:
    """What one process found: readings, every entry's first answer, and why an entry could not be run."""

    readings: tuple[Reading, ...]
    answers: Mapping[str, np.ndarray]
    refused: Mapping[str, str]


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """All arrays of an `.npz`."""
    with np.load(path, allow_pickle=False) as stored:
        return dict(stored)


def _open(entry: Entry) -> Session:
    artifact = OnnxArtifact(entry.name, entry.file, read_arrays(entry.inputs))
    return open_target(entry.target).open(artifact, entry.workload)


def perform(job: Job) -> Outcome:
    """Open what can be opened, and time it; runs in a process of its own."""
    sessions: dict[str, Session] = {}
    answers: dict[str, np.ndarray] = {}
    refused: dict[str, str] = {}
    for entry in job.entries:
        try:
            session = _open(entry)
            answers[entry.name] = session.run()[0]
            sessions[entry.name] = session
        # Runtimes fail in ways of their own on files that others made, some only when they run: that is a result.
        except Exception as problem:
            refused[entry.name] = (str(problem).strip().splitlines() or [type(problem).__name__])[0]
    rounds = range(job.policy.rounds)
    rng = np.random.default_rng([job.seed, job.process])
    readings = tuple(measure(sessions, {name: rounds for name in sessions}, job.policy, rng))
    return Outcome(readings, answers, refused)


@dataclass(frozen=True)
class Timing:
    """All processes together."""

    samples: tuple[Sample, ...]
    answers: Mapping[str, np.ndarray]
    refused: Mapping[str, str]

    def measurements(self) -> dict[str, Measurement]:
        """By entry's name."""
        return {key: found for (key, _), found in summarise(self.samples).items()}


def time_entries(entries: Sequence[Entry], policy: Policy, processes: int, seed: int = 0) -> Timing:
    """Time all entries in `processes` fresh processes one after another.

    An entry that some process could not run is left out of the samples. Raises `UserError` if a process is ended from
    outside or by a runtime's crash.
    """
    workloads = {entry.name: entry.workload for entry in entries}
    samples: list[Sample] = []
    answers: dict[str, np.ndarray] = {}
    refused: dict[str, str] = {}
    for process in range(processes):
        found = _in_process(Job(tuple(entries), policy, process, seed))
        answers, refused = {**found.answers, **answers}, {**refused, **found.refused}
        samples += [
            Sample(one.key, workloads[one.key], process, one.round, one.milliseconds, one.taken_at)
            for one in found.readings
        ]
    kept = tuple(sample for sample in samples if sample.key not in refused)
    return Timing(kept, answers, refused)


def _in_process(job: Job) -> Outcome:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        try:
            return pool.submit(perform, job).result()
        except BrokenProcessPool:
            names = ", ".join(entry.name for entry in job.entries)
            raise UserError(f"a timing process died, of memory or of a runtime's crash; it ran {names}.") from None
