"""Whether each exported file is worth keeping: timed in turns beside the exact one, and scored on the same texts."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from devices.onnx_runtime import OnnxRuntimeTarget
from devices.stopwatch import Policy, measure
from devices.target import OnnxArtifact
from devices.workload import Workload
from export.gate import Evidence, Gate, Verdict, judge
from export.graph_file import graph_inputs, read_graph_file
from export.student import ExportedFile
from export.verify import run_graph
from runs.progress import Progress
from tailorbird.known import Known

POLICY = Policy(rounds=25, warmup_runs=3, sample_ms=20.0, max_runs=6)
"""One process: a process that is slow as a whole is slow for every file."""

Numbers = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Gated:
    """What timing and scoring found."""

    verdicts: dict[str, Verdict] = field(default_factory=dict)
    """Of every file that rounds anything, by name."""
    times_ms: dict[str, float] = field(default_factory=dict)
    """Median of every file, by name."""

    def keeps(self, name: str) -> bool:
        """Whether a file passed, or was never asked to."""
        return name not in self.verdicts or self.verdicts[name].kept


def gate_files(
    files: Sequence[ExportedFile], gate: Gate, workload: Workload, known: Known | None, progress: Progress
) -> Gated:
    """Time every file, and hold each that rounds anything against the exact one of its dialect.

    Files are timed on ONNX Runtime. With a known task the score on all its validation texts decides, else the agreement
    that the export found.
    """
    exact = {file.form.dialect: file for file in files if file.form.exact}
    rounded = [file for file in files if not file.form.exact]
    progress.say(f"timing {len(files)} files in turns on {workload.threads} thread(s)")
    times = _times(files, workload)
    answers = {file.path.name: _answers(file, known) for file in files} if known else {}
    verdicts = {}
    for file in rounded:
        beside = exact[file.form.dialect]
        evidence = [_evidence(one, beside, times, answers, known) for one in (beside, file)]
        verdicts[file.path.name] = judge(evidence[0], evidence[1], gate)
        progress.say(f"{file.path.name}: {verdicts[file.path.name].reason}")
    return Gated(verdicts, {name: float(np.median(rounds)) for name, rounds in times.items()})


def _times(files: Sequence[ExportedFile], workload: Workload) -> dict[str, list[float]]:
    """Milliseconds a round of each file."""
    target, times = OnnxRuntimeTarget(), {file.path.name: list[float]() for file in files}
    with ExitStack() as opened:
        sessions = {}
        for file in files:
            inputs = graph_inputs(read_graph_file(file.path), workload)
            sessions[file.path.name] = target.open(OnnxArtifact(file.path.name, file.path, inputs), workload)
            opened.callback(sessions[file.path.name].close)
        rounds = {name: range(POLICY.rounds) for name in times}
        for reading in measure(sessions, rounds, POLICY, np.random.default_rng(0)):
            times[reading.key].append(reading.milliseconds)
    return times


def _answers(file: ExportedFile, known: Known | None) -> Numbers:
    batches = known.validation if known else ()
    return np.concatenate([answer for answer in run_graph(file.path, batches)])


def _evidence(
    file: ExportedFile,
    exact: ExportedFile,
    times: dict[str, list[float]],
    answers: dict[str, Numbers],
    known: Known | None,
) -> Evidence:
    name, label = file.path.name, file.form.precision
    if file.form.embeddings:
        label += f" with {file.form.embeddings} embeddings"
    if known is None:
        return Evidence(label, times[name], file.size_bytes, file.parity.agreement)
    own, reference = (answers[one.path.name].argmax(axis=-1) for one in (file, exact))
    score, same = float((own == known.labels).mean()), float((own == reference).mean())
    return Evidence(label, times[name], file.size_bytes, same, score)
