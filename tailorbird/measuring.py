"""A fresh measurement of files: what `measure-student` does."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from devices.target import ArtifactKind, open_target
from devices.workload import Precision, Workload
from export.form import FILES, Form
from export.items import Checkpoint, GraphFile, Item
from export.lowering import GRAPH_FORMS, graph_form
from nas.result_folder import checkpoint_of
from profiler.processes import FINAL_POLICY, measure_items
from runs.errors import UserError
from runs.files import read_json
from runs.progress import Progress

FILES_TARGET = "onnxruntime"
"""Where ONNX files are timed if the target runs none."""


def measure_files(
    student: Path, target: str | None, given: dict[str, Any], processes: int, seed: int, progress: Progress
) -> dict[str, Any]:
    """Time an ONNX file, a checkpoint folder, or everything a search left in a result folder.

    `given` are the fields of the workload that were asked for. In a result folder the others, target and budget come
    from its `verdict.json`, and the ONNX files are timed on ONNX Runtime too.
    """
    verdict = read_json(student / "verdict.json", "verdict") if (student / "verdict.json").is_file() else None
    target = target or (verdict["target"] if verdict else "onnxruntime")
    workload = replace(Workload(**verdict["workload"]) if verdict else Workload(), **given)
    measured = []
    for name, item, where, circumstances in _jobs(student, target, workload, verdict is not None):
        progress.say(f"timing {name} on {where} in {processes} processes")
        results = measure_items(
            {name: item}, where, [circumstances], FINAL_POLICY, processes=processes, seed=seed, progress=progress
        )
        measured.append({"file": name, "target": where, "precision": circumstances.precision, **_row(results)})
    result = {"student": str(student), "workload": workload.to_json(), "measurements": measured}
    if verdict:
        result["budget_ms"] = verdict["budget_ms"]
        result["within_budget"] = measured[0]["p50_ms"] <= verdict["budget_ms"]
    return result


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
