"""What is known about where a checkpoint comes from: what a run wrote down beside it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runs.errors import UserError
from runs.files import read_json
from students.spec import StudentSpec

CARD_FILE = "README.md"


@dataclass(frozen=True)
class Source:
    """What the student learnt from: data or a teacher, and the licence that binds whoever uses it."""

    name: str
    licence: str
    place: str = ""


@dataclass(frozen=True)
class Measured:
    """A time of one of the bundle's files, and where it was taken."""

    file: str
    latency_ms: float
    runtime: str
    machine: str
    workload: str


@dataclass(frozen=True)
class Origin:
    """What is known; empty where no run of ours wrote anything beside the checkpoint."""

    data: Source | None = None
    teacher: Source | None = None
    scores: Mapping[str, Any] = field(default_factory=dict)
    """`metric`, `split`, `teacher`, `student`, `bag_of_words`, as in verdict.json."""
    measured: tuple[Measured, ...] = ()
    card: bytes | None = None
    """The checkpoint's own model card, as it is."""


def origin(checkpoint: Path, spec: StudentSpec) -> Origin:
    """Read what a search or a distillation left beside the checkpoint, if it is about a student of this spec."""
    card = checkpoint / CARD_FILE
    found = next(_records(checkpoint, spec), Origin())
    return Origin(
        found.data, found.teacher, found.scores, found.measured, card.read_bytes() if card.is_file() else None
    )


def _records(checkpoint: Path, spec: StudentSpec) -> Iterator[Origin]:
    for folder in (checkpoint, checkpoint.resolve().parent):
        for name, read in (("verdict.json", _from_verdict), ("run.json", _from_distillation)):
            if not (folder / name).is_file():
                continue
            try:
                record = read(read_json(folder / name), spec)
            except (UserError, KeyError, TypeError, AttributeError):
                # Another program's file of that name says nothing about this checkpoint.
                continue
            if record:
                yield record


def _from_verdict(verdict: dict[str, Any], spec: StudentSpec) -> Origin | None:
    """A search's result; None where it is about another student."""
    if StudentSpec.from_json(verdict["student"]["spec"]) != spec:
        return None
    machine, numbers = verdict["device"]["processor"], verdict["workload"]
    workload = f"batch {numbers['batch_size']}, {numbers['sequence_length']} tokens, {numbers['threads']} thread(s)"
    files = tuple(
        Measured(file["file"], file["latency_ms"], "ONNX Runtime", machine, workload)
        for file in verdict["student"]["files"]
    )
    return Origin(_source(verdict["data"]), _source(verdict["teacher"]), verdict["score"], files)


def _from_distillation(record: dict[str, Any], spec: StudentSpec) -> Origin | None:
    """A distillation's result; None where it is about another student or no result yet."""
    result = record["stages"]["distilled"]["result"]
    if result["parameters"] != spec.parameters():
        return None
    return Origin(_source(result["data"]), _source(result["teacher"]), result["score"])


def _source(value: dict[str, Any]) -> Source:
    return Source(value["name"], value.get("licence", "not written down"), value.get("source", ""))
