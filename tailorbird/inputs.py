"""What people type, turned into what the rooms take: specs and workloads."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast, get_args

from devices.workload import Precision, Workload
from export.graph_file import no_cache
from runs.errors import UserError
from runs.files import read_json
from runs.registry import unknown_name
from students.shapes import SHAPES
from students.spec import StudentSpec
from students.stock import Outline, checkpoint_outline


def usual_length(earlier_tokens: int) -> int:
    """Tokens of one inference where nobody says how many: one where others are in a cache already."""
    return 1 if earlier_tokens else Workload().sequence_length


def require_cache(specs: Mapping[str, StudentSpec], workload: Workload) -> None:
    """Raise `UserError` for earlier tokens and a student that keeps none of them."""
    for name, spec in specs.items():
        if workload.earlier_tokens and spec.head.kind != "causal-lm":
            raise no_cache(f"{name} (head {spec.head.kind!r})")


def one_workload(
    batch_size: int, sequence_length: int, threads: int, precision: str, earlier_tokens: int = 0
) -> Workload:
    """A workload from flags; its own checks name the flag that is wrong."""
    return Workload(batch_size, sequence_length, threads, cast(Precision, precision), earlier_tokens)


def precisions(names: Sequence[str]) -> list[Precision]:
    """Precisions by name, each once; a `UserError` for an unknown one."""
    return [one_workload(1, 1, 1, name).precision for name in dict.fromkeys(names)]


def precision_or_auto(text: str) -> Precision | None:
    """A precision, or None for `auto`."""
    if text not in (*get_args(Precision), "auto"):
        raise UserError(f"--precision is {text!r}: use one of {', '.join(get_args(Precision))}, or auto.")
    return None if text == "auto" else cast(Precision, text)


def length_or_auto(text: str) -> int | None:
    """A number of tokens, or None for `auto`."""
    if text == "auto":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise UserError(f"--sequence-length is {text!r}: give a whole number of at least 1, or auto.")
    return int(text)


def read_outline(text: str) -> Outline:
    """As `read_spec`, from a checkpoint's config alone, stock types that students cannot copy among them."""
    return checkpoint_outline(Path(text)) if Path(text).is_dir() else Outline(read_spec(text))


def too_long(spec: StudentSpec, workload: Workload) -> list[str]:
    """A note where the workload's texts have more tokens than the student has positions."""
    fits = workload.sequence_length + workload.earlier_tokens <= spec.maximum_positions
    return [] if fits else [f"it has {spec.maximum_positions} positions, too few for such texts"]


def read_spec(text: str) -> StudentSpec:
    """The student that a spec file, a named shape or a checkpoint folder describes."""
    path = Path(text)
    if path.is_dir():
        from students.bert import load_model

        return load_model(path).config.spec_object
    if path.is_file():
        return StudentSpec.from_json(read_json(path, "spec file"))
    if text in SHAPES:
        return SHAPES[text]
    if path.suffix or len(path.parts) > 1:
        raise UserError(f"{text} is neither a spec file nor a checkpoint folder: there is nothing at that path.")
    raise unknown_name("shape", text, SHAPES.names())
