"""The verdict: what was promised and what was measured, in one file beside the student."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from devices.disturbance import Disturbance
from devices.fingerprint import Fingerprint
from devices.measurement import Measurement
from distill.examples import Task
from export.verify import Parity
from nas.budget import Budget
from nas.finalists import Candidate
from nas.limits import Limits
from runs.files import write_json_atomic

VERDICT_FILE = "verdict.json"


@dataclass(frozen=True)
class FileFacts:
    """An exported file: name, size, precision, ms and memory on ONNX Runtime, label agreement with the checkpoint.

    Of one that writes on these are ms of the next token, and those of the first, after a whole text, stand beside them.
    """

    file: str
    bytes: int
    precision: str
    latency_ms: float
    memory_bytes: int
    agreement: float
    first_token_ms: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values; the first token's milliseconds where there are any."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True)
class TeacherFacts:
    """The teacher as it stands beside the student."""

    name: str
    licence: str
    parameters: int
    latency_ms: float
    timed_as: str
    """What of it those milliseconds are of, in words (`nas.use`)."""


@dataclass(frozen=True)
class Scores:
    """Test scores in 0 to 1 by `metric`."""

    metric: str
    teacher: float
    student: float
    bag_of_words: float

    def to_json(self) -> dict[str, Any]:
        """`retained` is the student's share of the teacher's score; `gap_kept` its share of the way from bag-of-words
        to the teacher, None where the teacher is not above bag-of-words and the task decides nothing."""
        gap = self.teacher - self.bag_of_words
        return {
            "metric": self.metric,
            "split": "test",
            "teacher": self.teacher,
            "student": self.student,
            "retained": self.student / self.teacher if self.teacher else None,
            "bag_of_words": self.bag_of_words,
            "gap_kept": (self.student - self.bag_of_words) / gap if gap > 0 else None,
        }


@dataclass(frozen=True)
class Circumstances:
    """How the search was made: names and numbers that the verdict repeats."""

    target: str
    device: Fingerprint
    disturbance: Disturbance
    method: str
    effort: str
    seed: int
    schedule: dict[str, float]
    task: Task
    limits: Limits
    limited_file: str
    """The file whose bytes and memory are limited."""


def build_verdict(
    budget: Budget,
    how: Circumstances,
    student: Candidate,
    measured: Measurement,
    discarded_ms: list[list[float]],
    teacher: TeacherFacts,
    scores: Scores,
    files: Sequence[FileFacts],
    parity: Parity,
    seconds: dict[str, float],
) -> dict[str, Any]:
    """The whole of verdict.json. `measured` is of the target's own artifact of the distilled student; `discarded_ms` is
    of student and teacher before a machine that had slowed was waited for.

    What is `predicted` counts on the usual `disturbance`, for `measured` is what a clock said.
    """
    task, limits = how.task, how.limits
    limited = next(facts for facts in files if facts.file == how.limited_file)
    return {
        "budget_ms": float(budget.latency_ms),
        "target": how.target,
        "within_budget": budget.holds(measured),
        "workload": budget.workload.to_json(),
        "device": how.device.to_json(),
        "method": how.method,
        "effort": how.effort,
        "seed": how.seed,
        "schedule": dict(how.schedule),
        "task": task.kind,
        "data": {"name": task.name, "source": task.source, "licence": task.licence},
        "student": {
            "spec": student.spec.to_json(),
            "parameters": student.spec.parameters(),
            "trimmed": student.trimmed,
            "filled": student.filled,
            "files": [facts.to_json() for facts in files],
        },
        "limits": {
            "parameters": limits.parameters,
            "file_bytes": limits.file_bytes,
            "memory_bytes": limits.memory_bytes,
            "file": how.limited_file,
            "kept": limits.keep(student.spec.parameters(), limited.bytes, limited.memory_bytes),
        },
        "teacher": {**asdict(teacher), "fits_budget": teacher.latency_ms <= budget.latency_ms},
        "latency_ms": {
            "predicted": student.predicted_ms,
            "interval": list(student.interval_ms),
            "disturbance": how.disturbance.to_json(),
            "measured_p50": measured.p50_ms,
            "measured_p90": measured.p90_ms,
            "noise_floor_percent": measured.noise_floor_percent,
            "processes": len(measured.process_medians_ms),
            "discarded_ms": discarded_ms,
        },
        "score": scores.to_json(),
        "speedup": teacher.latency_ms / measured.p50_ms,
        "parity": {"max_abs_error": parity.max_abs_error, "agreement": parity.agreement},
        "seconds": {name: round(value, 3) for name, value in seconds.items()},
    }


def write_verdict(folder: Path, verdict: dict[str, Any]) -> None:
    """Write verdict.json into a result folder."""
    write_json_atomic(folder / VERDICT_FILE, verdict)


def tried_text(schedule: Mapping[str, float]) -> str:
    """How candidates were tried, for people: "24 candidates in 4 episodes, 30 steps each on …"."""
    parts = [f"{schedule['candidates']} candidates in {schedule['episodes']} episodes"]
    if "supernet_steps" in schedule:
        parts.append(f"parts of a supernet that was taught for {schedule['supernet_steps']} steps")
    if "parts" in schedule:
        parts.append(f"proposed by what {schedule['parts']} parts lose alone")
    if "steps" in schedule:
        rate = f" at {schedule['rate']:g} times the learning rate" if "rate" in schedule else ""
        parts.append(f"{schedule['steps']} steps each on {100 * schedule['subset']:.0f} % of the training data{rate}")
    if "learnt_from" in schedule:
        said = "after" if "steps" in schedule else "foretold from"
        parts.append(f"{said} {schedule['learnt_from']} of earlier searches")
    if len(parts) == 1:
        parts.append("judged by what they start from")
    return ", ".join(parts)


def cut_text(schedule: Mapping[str, float]) -> str:
    """What a student went through that came out slightly too slow, as the end of a sentence; empty for others."""
    if "cut_steps" not in schedule:
        return ""
    return f", cut where it came out slightly too slow, and taught on for {schedule['cut_steps']} steps"
