"""A measuring process: reads one job on standard input, answers with one JSON line a sample, ends with its parent."""

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack

import numpy as np
import psutil

import devices.targets  # noqa: F401  (fills the registry)
from devices.stopwatch import Reading, Reference, measure
from devices.target import Session, Target, open_target
from devices.workload import Workload
from export.lowering import lower
from profiler.job import Answer, Job, Task
from runs.child import answers_only, die_with_parent
from runs.errors import UserError


def open_item(target: Target, job: Job, key: str, workload: Workload, held: ExitStack) -> Session:
    """Lower one item and make it ready; `held` closes it."""
    session = target.open(lower(job.items[key], target.artifact, workload, job.seed), workload)
    held.callback(session.close)
    return session


def batches(target: Target, job: Job, task: Task, rng: np.random.Generator) -> Iterator[dict[str, Session]]:
    """The task's items in random order, opened as many at a time as the policy's number and memory allow."""
    pending = list(rng.permutation(list(task.missing)))
    process = psutil.Process()
    while pending:
        gc.collect()
        limit = process.memory_info().rss + job.policy.held_gib * 2**30
        with ExitStack() as held:
            sessions: dict[str, Session] = {}
            while pending and len(sessions) < job.policy.held_open and process.memory_info().rss < limit:
                key = str(pending.pop())
                sessions[key] = open_item(target, job, key, task.workload, held)
            yield sessions


def perform(job: Job) -> Iterator[tuple[int, Reading]]:
    """Do every task; yields (number of the task, reading) as readings are taken."""
    target = open_target(job.target)
    rng = np.random.default_rng([job.seed, job.process])
    for number, task in enumerate(job.tasks):
        with ExitStack() as held:
            reference = None
            if task.reference:
                key, first_round = task.reference
                reference = Reference(key, open_item(target, job, key, task.workload, held), first_round)
            for sessions in batches(target, job, task, rng):
                for reading in measure(sessions, task.missing, job.policy, rng, reference):
                    if reference and reading.key == reference.key:
                        first_round = reading.round + 1
                    yield number, reading
                if reference:
                    reference = Reference(reference.key, reference.session, first_round)


def main() -> None:
    """Read a job, perform it, answer."""
    answers = answers_only()
    job = Job.from_line(sys.stdin.readline())
    die_with_parent(sys.stdin)
    try:
        for number, reading in perform(job):
            answers.write(Answer(number, reading).to_line() + "\n")
    except UserError as problem:
        answers.write(Answer(error=str(problem)).to_line() + "\n")
    answers.flush()
    # Unloading models and runtimes takes a second that nobody needs.
    os._exit(0)


if __name__ == "__main__":
    main()
