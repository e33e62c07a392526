"""`verify_runtimes`: an exported file loaded, run, compared with its checkpoint and timed on several runtimes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from devices.measurement import Measurement, Sample
from devices.stopwatch import Policy
from devices.summary import summarise
from devices.workload import Workload
from export.graph_file import GraphInfo, graph_inputs, read_graph_file
from export.runtimes.contract import Inputs
from export.runtimes.padding import pad_to_workload, random_batches_within
from export.runtimes.processes import Interpreters, ask
from export.runtimes.registered import RUNTIMES
from export.runtimes.sources import SOURCES, Given
from export.verify import SPANS, Batch, Parity, compare, run_model
from runs.errors import UserError
from runs.files import write_bytes_atomic
from students.bert import load_model

POLICY = Policy(rounds=20, warmup_runs=5, sample_ms=0.0)
"""Every sample is a single run, after one that is not counted."""

STEM = "student"
"""Name, before its ending, of a file converted from a checkpoint."""

THIS_PYTHON = Interpreters()


@dataclass(frozen=True)
class RuntimeReport:
    """One runtime on one file: does it answer what the checkpoint answers, how fast, and in how much memory."""

    runtime: str
    version: str
    files: tuple[str, ...]
    """What it opened, converted where it has a format of its own."""
    agreement: float
    max_abs_error: float
    latency_ms: float
    """Median over processes of each one's median."""
    noise_floor_percent: float
    size_bytes: int
    """Of all `files`."""
    peak_memory_bytes: int
    """Of a process that loads the file and runs it in one shape; median over processes."""
    idle_memory_bytes: int
    """Of the same process before it loads the runtime."""
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain numbers and names."""
        return {**asdict(self), "files": list(self.files)}


@dataclass(frozen=True)
class Ready:
    """A runtime whose files are there to be opened."""

    runtime: str
    version: str
    idle_memory_bytes: int
    files: tuple[Path, ...]
    inputs: Inputs
    """Of one run, for conversion and timing."""


@dataclass(frozen=True)
class Subject:
    """What is verified, on which texts, and where things may be written meanwhile."""

    given: Given
    info: GraphInfo
    stacked: Inputs
    """Texts in the workload's shape, [batches, batch size, sequence length]."""
    references: Sequence[Any]
    texts: int
    scratch: Path
    interpreters: Interpreters = field(default_factory=Interpreters)

    def names(self, runtime: str) -> tuple[str, ...]:
        """Inputs in the order in which a runtime is given them; `UserError` for one that texts do not have."""
        if RUNTIMES[runtime].source != "file":
            return tuple(self.stacked)
        wanted = tuple(given.name for given in self.info.inputs)
        missing = [name for name in wanted if name not in self.stacked]
        if missing:
            raise UserError(
                f"{self.info.path} wants an input called {missing[0]}: only {', '.join(self.stacked)} can be given."
            )
        return wanted

    def write(self, name: str, arrays: Mapping[str, Any]) -> str:
        """Arrays as a file that a worker reads."""
        path = self.scratch / f"{name}.npz"
        np.savez(path, **arrays)
        return str(path)


def verify_runtimes(
    checkpoint: Path,
    file: Path,
    runtimes: Sequence[str],
    batches: Sequence[Batch] | None,
    workload: Workload,
    *,
    output: Path | None = None,
    processes: int = 3,
    policy: Policy = POLICY,
    interpreters: Interpreters = THIS_PYTHON,
    refused: Callable[[str, UserError], None] | None = None,
) -> list[RuntimeReport]:
    """Run `file`, exported from `checkpoint`, on each of `runtimes` in processes of their own; one report each.

    Answers are compared with the checkpoint's on `batches`, or on random ids without any, in the workload's shape.
    Latency and memory are those of a full text of that shape, over `processes` processes a runtime, which take turns.
    Converted files are kept in the folder `output` where one is given. Raises `UserError` for an unknown runtime, one
    that is not installed, and one that cannot load the file; with `refused`, that is called instead and the runtime
    left out.
    """
    wanted = list(dict.fromkeys(runtimes))
    for runtime in wanted:
        _ = RUNTIMES[runtime]
    info = read_graph_file(file)
    model = load_model(checkpoint)
    fitting = random_batches_within(model.config.spec_object, workload) if batches is None else batches
    stacked, texts = pad_to_workload(fitting, workload)
    references = list(run_model(model, _unstacked(stacked)))
    with TemporaryDirectory(prefix="tailorbird-runtimes-") as scratch:
        given = Given(checkpoint, model, file, workload)
        subject = Subject(given, info, stacked, references, texts, Path(scratch), interpreters)
        ready: dict[str, tuple[Ready, Parity]] = {}
        for runtime in wanted:
            try:
                prepared = prepare(subject, runtime)
                ready[runtime] = prepared, agreement(subject, prepared)
            except UserError as problem:
                if refused is None:
                    raise
                refused(runtime, problem)
        timed = time_in_turns(subject, [prepared for prepared, _ in ready.values()], processes, policy)
        if output is not None:
            _keep(subject, [prepared for prepared, _ in ready.values()], output)
        return [_report(prepared, parity, *timed[runtime]) for runtime, (prepared, parity) in ready.items()]


def _unstacked(stacked: Inputs) -> list[Batch]:
    return [{name: values[number] for name, values in stacked.items()} for number in range(_length(stacked))]


def _length(stacked: Inputs) -> int:
    return len(next(iter(stacked.values())))


def prepare(subject: Subject, runtime: str) -> Ready:
    """Check that the runtime is there, and convert where it has a format of its own."""
    entry = RUNTIMES[runtime]
    found = ask(runtime, "probe", subject.interpreters)
    names = subject.names(runtime)
    full = graph_inputs(subject.info, subject.given.workload)
    inputs = {name: full.get(name, np.zeros_like(subject.stacked[name][0])) for name in names}
    source = SOURCES[entry.source](subject.given, subject.scratch)
    files: tuple[Path, ...] = (source,)
    if entry.suffixes:
        stem = subject.scratch / (source.stem if entry.source == "file" else STEM)
        given = subject.write(f"{runtime}-inputs", inputs)
        # Converters and their runtimes resolve relative paths where they run.
        ask(runtime, "convert", subject.interpreters, source=str(source.resolve()), inputs=given, stem=str(stem))
        files = tuple(stem.with_name(stem.name + suffix) for suffix in entry.suffixes)
    return Ready(runtime, found["version"], found["peak_memory_bytes"], files, inputs)


def _opening(subject: Subject, ready: Ready) -> dict[str, Any]:
    return {
        "file": str(ready.files[0].resolve()),
        "outputs": subject.info.outputs,
        "threads": subject.given.workload.threads,
    }


def agreement(subject: Subject, ready: Ready) -> Parity:
    """How the runtime's answers compare with the checkpoint's."""
    dtypes = {name: value.dtype for name, value in ready.inputs.items()}
    batches = subject.write("batches", {name: subject.stacked[name].astype(dtypes[name]) for name in ready.inputs})
    kept = str(subject.scratch / "answers.npz")
    ask(ready.runtime, "answer", subject.interpreters, batches=batches, answers=kept, **_opening(subject, ready))
    with np.load(kept, allow_pickle=False) as stored:
        outputs = {name: stored[f"output{number}"] for number, name in enumerate(subject.info.outputs)}
    joined = np.stack([outputs[name] for name in SPANS], axis=-1) if set(SPANS) <= set(outputs) else None
    answers = next(iter(outputs.values())) if joined is None else joined
    stacked = (np.stack(list(subject.references)), answers, subject.stacked["attention_mask"])
    # Batches are laid end to end, and what filled up the last of them falls away.
    references, given, masks = ([values.reshape(-1, *values.shape[2:])[: subject.texts]] for values in stacked)
    return compare(references, given, subject.given.model.config.spec_object.head.kind, masks)


def time_in_turns(
    subject: Subject, ready: Sequence[Ready], processes: int, policy: Policy
) -> dict[str, tuple[Measurement, int]]:
    """Latency and peak memory in bytes by runtime; in each turn every runtime has one process, in random order."""
    rng = np.random.default_rng(0)
    samples: list[Sample] = []
    peaks: dict[str, list[int]] = {prepared.runtime: [] for prepared in ready}
    workload = subject.given.workload
    for process in range(processes):
        for place in rng.permutation(len(ready)):
            prepared = ready[place]
            inputs = subject.write(f"{prepared.runtime}-inputs", prepared.inputs)
            details = {"inputs": inputs, "policy": policy.to_json(), "process": process, "seed": 0}
            told = ask(prepared.runtime, "time", subject.interpreters, **details, **_opening(subject, prepared))
            samples += [Sample(prepared.runtime, workload, process, *reading) for reading in told["readings"]]
            peaks[prepared.runtime].append(told["peak_memory_bytes"])
    found = summarise(samples)
    return {name: (found[name, workload], int(np.median(values))) for name, values in peaks.items()}


def _keep(subject: Subject, ready: Sequence[Ready], output: Path) -> None:
    for prepared in ready:
        if RUNTIMES[prepared.runtime].suffixes:
            for path in prepared.files:
                write_bytes_atomic(output / path.name, path.read_bytes())


def _report(ready: Ready, parity: Parity, measured: Measurement, peak_memory_bytes: int) -> RuntimeReport:
    return RuntimeReport(
        runtime=ready.runtime,
        version=ready.version,
        files=tuple(path.name for path in ready.files),
        agreement=parity.agreement,
        max_abs_error=parity.max_abs_error,
        latency_ms=measured.p50_ms,
        noise_floor_percent=measured.noise_floor_percent,
        size_bytes=sum(path.stat().st_size for path in ready.files),
        peak_memory_bytes=peak_memory_bytes,
        idle_memory_bytes=ready.idle_memory_bytes,
        note=RUNTIMES[ready.runtime].note,
    )
