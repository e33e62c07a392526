"""Timing items in fresh processes one after another, each sample stored the moment it is taken."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from time import time
from typing import IO

import devices.targets  # noqa: F401  (fills the registry)
import profiler.replay  # noqa: F401  (files the target that needs a profile)
from devices.measurement import Measurement, Sample, summarise
from devices.stopwatch import Policy
from devices.store import IN_MEMORY, SampleStore
from devices.target import DescriptionArtifact, Target, open_target
from devices.workload import Workload
from export.items import Item, item_to_json
from profiler.job import Answer, Job, Task
from runs.errors import UserError
from runs.progress import Progress

FINAL_POLICY = Policy(rounds=20, warmup_runs=5, sample_ms=0.0)
"""For the few models whose latency is promised: every sample is a single run, so that p90 means what it says."""

STDERR_SHOWN = 2000
"""Characters of a broken process's last words."""


def measure_items(
    items: Mapping[str, Item],
    target: str,
    workloads: Sequence[Workload],
    policy: Policy,
    *,
    processes: int = 3,
    seed: int = 0,
    progress: Progress | None = None,
    store: SampleStore | None = None,
    reference: str | None = None,
) -> dict[tuple[str, Workload], Measurement]:
    """Latencies of `items` (by key) on `target`, for each workload, over `processes` processes.

    What `store` has already is not measured again, and every new sample is written to it at once. `reference` names
    the item that runs in every round, by which drift is divided out; without it latencies are as they were clocked.
    Raises `UserError` for an unknown target or workload, an item that cannot be loaded, and a process that the system
    ended.
    """
    place = open_target(target)
    for workload in workloads:
        place.check(workload)
    steady = reference if place.clocked else None
    with ExitStack() as stack:
        kept = store or stack.enter_context(SampleStore(IN_MEMORY))
        kept.add_items({key: item_to_json(item) for key, item in items.items()})
        wanted = [key for key in items if key != steady]
        total = len(wanted) * len(workloads) * processes * policy.rounds
        jobs = [_job(target, items, workloads, policy, process, seed, kept, steady) for process in range(processes)]
        left = sum(len(rounds) for job in jobs for task in job.tasks for rounds in task.missing.values())
        label = f"measuring {len(items)} models on {target}"
        bar = stack.enter_context((progress or Progress(quiet=True)).task(label, total, done=total - left))
        for job in jobs:
            for sample in _timed(job) if place.clocked else _looked_up(job, place):
                kept.add(sample)
                if sample.key != steady:
                    bar.advance()
        asked = set(workloads)
        return summarise([sample for sample in kept.samples(items) if sample.workload in asked], steady)


def _job(
    target: str,
    items: Mapping[str, Item],
    workloads: Sequence[Workload],
    policy: Policy,
    process: int,
    seed: int,
    store: SampleStore,
    reference: str | None,
) -> Job:
    """What the store lacks of one process; a workload of which nothing is missing has no task."""
    tasks = []
    for workload in workloads:
        done = store.rounds(workload, process)
        rounds = {key: set(range(policy.rounds)) - done.get(key, set()) for key in items if key != reference}
        missing = {key: tuple(sorted(numbers)) for key, numbers in rounds.items() if numbers}
        first = max(done.get(reference, {-1})) + 1 if reference else 0
        if missing:
            tasks.append(Task(workload, missing, (reference, first) if reference else None))
    needed = {key for task in tasks for key in task.missing} | ({reference} if reference else set())
    used = {key: item for key, item in items.items() if key in needed}
    return Job(target, used, tuple(tasks), policy, process, seed)


def _looked_up(job: Job, target: Target) -> Iterator[Sample]:
    """Samples of a target that needs no stopwatch; each depends on nothing but its key, workload, process, round."""
    for task in job.tasks:
        for key, missing in task.missing.items():
            session = target.open(DescriptionArtifact(key, item_to_json(job.items[key])), task.workload)
            served = [session.time_ms() for _ in range((job.process + 1) * job.policy.rounds)]
            for number in missing:
                milliseconds = served[job.process * job.policy.rounds + number]
                yield Sample(key, task.workload, job.process, number, milliseconds, time())


def _timed(job: Job) -> Iterator[Sample]:
    """Samples of a fresh process, which ends when they do or when the caller stops asking for more."""
    if not job.tasks:
        return
    with ExitStack() as stack:
        last_words = stack.enter_context(tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace"))
        # -P: a module of the user's working folder must not stand in for one of ours.
        command = [sys.executable, "-P", "-m", "profiler.worker"]
        worker = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=last_words, text=True, encoding="utf-8"
        )
        stack.callback(_end, worker)
        assert worker.stdin and worker.stdout
        try:
            worker.stdin.write(job.to_line() + "\n")
            worker.stdin.flush()
        except BrokenPipeError:
            raise _broken(worker, last_words) from None
        for line in worker.stdout:
            answer = Answer.from_line(line)
            if answer.error is not None:
                raise UserError(answer.error)
            if answer.reading is not None:
                reading = answer.reading
                workload = job.tasks[answer.task].workload
                yield Sample(reading.key, workload, job.process, reading.round, reading.milliseconds, reading.taken_at)
        if worker.wait() != 0:
            raise _broken(worker, last_words)


def _end(worker: subprocess.Popen[str]) -> None:
    if worker.poll() is None:
        worker.kill()
    worker.wait()
    for stream in (worker.stdin, worker.stdout):
        if stream:
            with suppress(BrokenPipeError):
                stream.close()


def _broken(worker: subprocess.Popen[str], last_words: IO[str]) -> Exception:
    code = worker.wait()
    if code < 0:
        return UserError(
            f"a measuring process was ended by signal {-code}, most likely for want of memory: "
            "close other programs and run the same command again, it goes on where it was."
        )
    last_words.seek(0)
    return RuntimeError(f"a measuring process failed:\n{last_words.read()[-STDERR_SHOWN:]}")
