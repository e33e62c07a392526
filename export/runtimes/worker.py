"""A process of one runtime: reads one job on standard input, answers with one JSON line, ends with its parent."""

import json
import os
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from devices.stopwatch import Policy, measure
from export.runtimes.contract import Inputs, Opened
from export.runtimes.registered import RUNTIMES
from runs.child import answers_only, die_with_parent
from runs.errors import UserError
from runs.registry import Registry

Job = dict[str, Any]

RUNS_WEIGHED = 3
"""Runtimes that plan their memory by the first run have it by the second."""

JOBS: Registry[Callable[[Job], Job]] = Registry("job")
"""Job → what it answers with; all are given the runtime's name and paths of files without pickles."""


def read_inputs(path: str) -> Inputs:
    """Arrays of an `.npz` file, in its order."""
    with np.load(path, allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}


def peak_memory_bytes() -> int:
    """The most memory this process has had at once.

    Linux also has it in `ru_maxrss`, but there a process inherits the peak of the one that started it.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        told = [int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM")]
        if told:
            return told[0] * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@JOBS.register("probe")
def probe(job: Job) -> Job:
    """The runtime's version, and the memory of a process that has not loaded it."""
    return {"version": RUNTIMES[job["runtime"]].check(), "peak_memory_bytes": peak_memory_bytes()}


@JOBS.register("convert")
def convert(job: Job) -> Job:
    """Write the runtime's own files."""
    RUNTIMES[job["runtime"]].convert(Path(job["source"]), read_inputs(job["inputs"]), Path(job["stem"]))
    return {}


def _opened(job: Job, inputs: Inputs) -> Opened:
    return Opened(Path(job["file"]), inputs, tuple(job["outputs"]), job["threads"])


@JOBS.register("answer")
def answer(job: Job) -> Job:
    """Run many batches, stacked along a first axis of their own, and keep the outputs of each as stacks too."""
    stacked = read_inputs(job["batches"])
    inputs = {name: np.ascontiguousarray(values[0]) for name, values in stacked.items()}
    session = RUNTIMES[job["runtime"]].open(_opened(job, inputs))
    answers = []
    for number in range(len(next(iter(stacked.values())))):
        for name, values in stacked.items():
            inputs[name][...] = values[number]
        answers.append(session.run())
    parts = enumerate(zip(*answers, strict=True))
    outputs: dict[str, Any] = {f"output{number}": np.stack(values) for number, values in parts}
    np.savez(job["answers"], **outputs)
    return {}


@JOBS.register("time")
def time(job: Job) -> Job:
    """Samples under a policy, and the most memory that loading and running took."""
    inputs = read_inputs(job["inputs"])
    policy = Policy(**job["policy"])
    rng = np.random.default_rng([job["seed"], job["process"]])
    session = RUNTIMES[job["runtime"]].open(_opened(job, inputs))
    readings = list(measure({"": session}, {"": range(policy.rounds)}, policy, rng))
    return {
        "readings": [[one.round, one.milliseconds, one.taken_at] for one in readings],
        "peak_memory_bytes": peak_memory_bytes(),
    }


@JOBS.register("weigh")
def weigh(job: Job) -> Job:
    """The most memory before the runtime is loaded, and after it has loaded the file and run it."""
    inputs, idle = read_inputs(job["inputs"]), peak_memory_bytes()
    session = RUNTIMES[job["runtime"]].open(_opened(job, inputs))
    for _ in range(RUNS_WEIGHED):
        session.run()
    return {"idle_memory_bytes": idle, "peak_memory_bytes": peak_memory_bytes()}


def main() -> None:
    """Read a job, perform it, answer."""
    answers = answers_only()
    job = json.loads(sys.stdin.readline())
    die_with_parent(sys.stdin)
    try:
        result = JOBS[job["job"]](job)
    except UserError as problem:
        result = {"error": str(problem)}
    answers.write(json.dumps(result) + "\n")
    answers.flush()
    # Some runtimes take a second, or crash, when they are unloaded.
    os._exit(0)


if __name__ == "__main__":
    main()
