"""A fresh measurement of files: what `measure-student` does."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from devices.target import ArtifactKind, open_target
from devices.workload import Precision, Workload
from export.form import FILES, Form
from export.graph_file import read_graph_file
from export.items import Checkpoint, GraphFile, Item
from export.lowering import GRAPH_FORMS, graph_form
from nas.result_folder import checkpoint_of
from profiler.processes import FINAL_POLICY, measure_items
from runs.errors import UserError
from runs.files import read_json
from runs.progress import Progress
from students.spec import StudentSpec
from students.stock import checkpoint_outline

FILES_TARGET = "onnxruntime"
"""Where ONNX files are timed if the target runs none."""


def measure_files(
    student: Path, target: str | None, given: dict[str, Any], processes: int, seed: int, progress: Progress
) -> dict[str, Any]:
    """Time an ONNX file, a checkpoint folder, or everything a search left in a result folder.

    `given` are the fields of the workload that were asked for. In a result folder the others, target and budget come
    from its `verdict.json`, and the ONNX files are timed on ONNX Runtime too. Of a model that writes on, both moments
    are timed (`_moments`).
    """
    verdict = read_json(student / "verdict.json", "verdict") if (student / "verdict.json").is_file() else None
    target = target or (verdict["target"] if verdict else "onnxruntime")
    workload = replace(Workload(**verdict["workload"]) if verdict else Workload(), **given)
    measured = []
    for name, item, where, asked in _jobs(student, target, workload, verdict is not None):
        progress.say(f"timing {name} on {where} in {processes} processes")
        for one in _moments(item, asked, open_target(where).artifact in GRAPH_FORMS, "earlier_tokens" not in given):
            results = measure_items(
                {name: item}, where, [one], FINAL_POLICY, processes=processes, seed=seed, progress=progress
            )
            moment = {"sequence_length": one.sequence_length, "earlier_tokens": one.earlier_tokens}
            measured.append({"file": name, "target": where, "precision": one.precision, **moment, **_row(results)})
    result = {"student": str(student), "workload": workload.to_json(), "measurements": measured}
    if verdict:
        result["budget_ms"] = verdict["budget_ms"]
        result["within_budget"] = measured[0]["p50_ms"] <= verdict["budget_ms"]
    return result


def _moments(item: Item, asked: Workload, is_graph: bool, both: bool) -> list[Workload]:
    """What is timed of an item: of one that writes on all tokens at once, after which the first new one is known, and
    one more after them, by their cache, which graphs alone take; of any other, or without `both`, what is asked for.

    What a verdict asks for, which is the next token, comes first.
    """
    spec = _spec_of(item)
    if spec is None or spec.head.kind != "causal-lm" or not both or not is_graph:
        return [asked]
    if asked.earlier_tokens:
        return [asked, replace(asked, sequence_length=asked.earlier_tokens, earlier_tokens=0)]
    earlier = min(asked.sequence_length, spec.maximum_positions - 1)
    return [asked, replace(asked, sequence_length=1, earlier_tokens=earlier)]


def _spec_of(item: Item) -> StudentSpec | None:
    """The shape of a file or a folder; None where it does not say, or cannot be read, which opening it will tell."""
    try:
        if isinstance(item, GraphFile):
            return read_graph_file(item.path).spec
        return checkpoint_outline(item.folder).spec if isinstance(item, Checkpoint) else None
    except UserError:
        return None


def _row(results: dict[Any, Any]) -> dict[str, Any]:
    (measurement,) = results.values()
    return {
        "p50_ms": measurement.p50_ms,
        "p90_ms": measurement.p90_ms,
        "process_medians_ms": list(measurement.process_medians_ms),
        "noise_floor_percent": measurement.noise_floor_percent,
        "samples": measurement.samples,
    }


def _forms(kind: ArtifactKind, workload: Workload) -> dict[Form, Precision]:
    """Forms of the files in a result folder that a target may run → the precision it runs them in, its own first."""
    own = {graph_form(kind, workload): workload.precision} if kind in GRAPH_FORMS else {}
    portable = {form.dialect for form in own} == {"portable"}
    others = [form for form in FILES.values() if form.dialect == "portable" or not portable]
    return own | {form: cast(Precision, form.precision) for form in others if form not in own}


def _jobs(student: Path, target: str, workload: Workload, is_result: bool) -> Iterator[tuple[str, Item, str, Workload]]:
    """File name, item, target and workload of each measurement; the target's own artifact comes first."""
    kind = open_target(target).artifact
    wants_graph = kind in GRAPH_FORMS
    if student.is_file():
        if not wants_graph:
            raise UserError(f"{student} is a graph file and {target} runs checkpoints: use --target onnxruntime.")
        yield student.name, GraphFile(student), target, workload
    elif is_result:
        if not wants_graph:
            used = checkpoint_of(student)
            yield used.name, Checkpoint(used), target, workload
        where = target if wants_graph else FILES_TARGET
        for form, precision in _forms(kind, workload).items():
            if (student / form.file_name).is_file() and precision in open_target(where).precisions:
                circumstances = replace(workload, precision=precision)
                yield form.file_name, GraphFile(student / form.file_name), where, circumstances
    elif student.is_dir():
        yield student.name, Checkpoint(student), target, workload
    else:
        raise UserError(f"there is no file or folder at {student}.")
