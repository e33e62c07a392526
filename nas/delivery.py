"""From finalists to a student on disk: distilled in full, exported, and measured once more as it will be shipped."""

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from devices.measurement import Measurement
from devices.target import open_target
from devices.workload import Workload
from distill.distillation import distil
from export.calibration import calibrate_on
from export.form import DEFAULT_FORMS, Form
from export.items import Checkpoint, GraphFile, Item, item_key
from export.lowering import GRAPH_FORMS, graph_form
from export.student import export_student
from nas.budget import Budget
from nas.candidates import finalists_of, further_finalists
from nas.context import Context
from nas.finalists import Finalist
from nas.result_folder import CHECKPOINT, ENCODER, checkpoint_of
from nas.use import used_checkpoint
from runs.files import folder_atomic

CALIBRATION_TEXTS = 256
"""Training texts from which rounding learns how far numbers reach."""

DOUBTED = 1.05
"""Up to so many times the budget a student is measured once more: that costs a tenth of distilling another one, and a
shared machine's mood moves a measurement as far."""

FILES_TARGET = "onnxruntime"
"""The exported files are timed here whatever the target is."""


@dataclass(frozen=True)
class Delivered:
    """A student on disk, and the measurements of it and of its teacher that were taken in one batch.

    `files_ms` has the exported files by name where the target is ONNX Runtime itself, else nothing.
    """

    finalist: Finalist
    student: Measurement
    teacher: Measurement
    files_ms: dict[str, float]


def distil_finalists(context: Context, budget: Budget, stored: dict[str, Any]) -> list[Finalist]:
    """Distil as many of the best finalists as the effort says; all of them in the order to deliver.

    Those distilled come first, the best on validation ahead; the rest stand by in the order of their rewards.
    """
    finalists = finalists_of(stored)
    chosen = finalists[: context.effort.distilled]
    scores = [distilled(context, budget, finalist)["validation_score"] for finalist in chosen]
    order = sorted(range(len(chosen)), key=lambda n: (-scores[n], n))
    return [chosen[n] for n in order] + finalists[len(chosen) :]


def deliver(context: Context, budget: Budget, finalists: list[Finalist]) -> Delivered:
    """Export and measure finalists in turn until one keeps the budget as it will be shipped.

    A finalist was measured within the budget before it was distilled, so going on is for noise alone: to further
    processes where it is slightly over (`timed_as_shipped`), then to finalists that stand by, then to smaller
    neighbours of the last. If none keeps the budget, the last is delivered and said to be over.
    """
    waiting = list(finalists)
    trimmed = False
    while True:
        finalist = waiting.pop(0)
        delivered = _shipped(context, budget, finalist)
        if budget.holds(delivered.student):
            return delivered
        context.progress.say(
            f"{budget.label}: measured {delivered.student.p50_ms:.2f} ms after export, which is over; trying the next"
        )
        if not waiting and not trimmed:
            trimmed = True
            further = partial(further_finalists, context, budget, finalist)
            waiting = finalists_of(context.run.stage(f"{budget.label} further finalists", further))
        if not waiting:
            context.progress.say(f"{budget.label}: no finalist keeps the budget; delivering the last, which is over it")
            return delivered


def distillation_stage(budget: Budget, finalist: Finalist) -> str:
    """Name of the stage in which a finalist is distilled in full."""
    return f"{budget.label} distillation {item_key(finalist.candidate.spec)}"


def export_stage(budget: Budget, finalist: Finalist) -> str:
    """Name of the stage in which a finalist is exported and measured once more."""
    return f"{budget.label} export {item_key(finalist.candidate.spec)}"


def distilled(context: Context, budget: Budget, finalist: Finalist) -> dict[str, Any]:
    """The folder (relative to the run's) and validation score of a finalist, distilled in full unless it was."""
    spec = finalist.candidate.spec
    key = item_key(spec)

    def run() -> dict[str, Any]:
        context.progress.say(f"{budget.label}: distilling {key}, measured {finalist.measured_ms:.2f} ms, in full")
        done = distil(
            context.taught(spec),
            context.teacher,
            context.ground.task,
            context.recipe,
            context.work_folder(budget.label) / key,
            seed=context.settings.seed,
            progress=context.progress,
            steps=context.full_steps,
        )
        folder = done.folder.relative_to(context.run.path)
        return {"folder": str(folder), "validation_score": done.validation_score, "steps": done.steps}

    return context.run.stage(distillation_stage(budget, finalist), run)


def _shipped(context: Context, budget: Budget, finalist: Finalist) -> Delivered:
    made = context.run.path / distilled(context, budget, finalist)["folder"]

    def run() -> dict[str, Any]:
        folder, target = context.result_folder(budget.label), context.ground.target
        forms = delivered_forms(target, budget.workload)
        context.progress.say(f"{budget.label}: exporting, and measuring the student once more beside its teacher")
        with folder_atomic(folder) as scratch:
            shutil.copytree(made, scratch / CHECKPOINT, ignore=shutil.ignore_patterns("checkpoint-*"))
            used = used_checkpoint(scratch / CHECKPOINT, scratch / ENCODER)
            texts = context.ground.task.train.given()[:CALIBRATION_TEXTS]
            ranges = calibrate_on(used, texts, context.teacher.maximum_length)
            export_student(used, scratch, list(forms.values()), ranges=ranges)
        own = target_artifact(folder, target, budget.workload)
        items: dict[str, Item] = {"student": own, "teacher": context.teacher_item}
        if target == FILES_TARGET:
            items |= {name: item for name, item in graph_files(folder, forms).items() if item != own}
        # Fresh keys: what was measured before the distillation belongs to another mood of the machine.
        mark = item_key(own)
        timed = timed_as_shipped(context, budget, {f"{name} at the end, {mark}": item for name, item in items.items()})
        return {name: timed[f"{name} at the end, {mark}"].to_json() for name in items}

    found = context.run.stage(export_stage(budget, finalist), run)
    student, teacher = (measurement_from_json(found[part]) for part in ("student", "teacher"))
    files_ms = {name: value["p50_ms"] for name, value in found.items() if name not in ("student", "teacher")}
    if files_ms:
        files_ms[graph_form("onnx-fused", budget.workload).file_name] = student.p50_ms
    return Delivered(finalist, student, teacher, files_ms)


def timed_as_shipped(context: Context, budget: Budget, items: dict[str, Item]) -> dict[str, Measurement]:
    """Measurements of the student, the first of the items, and of what stands beside it; where the student is over the
    budget by 5 % at most, over twice as many processes, the first ones counted in."""
    timed = context.time(items, budget.workload)
    student = timed[next(iter(items))]
    if budget.holds(student) or student.p50_ms > DOUBTED * budget.latency_ms:
        return timed
    context.progress.say(
        f"{budget.label}: measured {student.p50_ms:.2f} ms, slightly over; asking as many processes again"
    )
    return context.time(items, budget.workload, times=2)


def delivered_forms(target: str, workload: Workload) -> dict[str, Form]:
    """File name → form of what a result holds: the default files, and the target's own where that is another."""
    kind = open_target(target).artifact
    own = [graph_form(kind, workload)] if kind in GRAPH_FORMS else []
    return {form.file_name: form for form in (*DEFAULT_FORMS, *own)}


def graph_files(folder: Path, names: Iterable[str]) -> dict[str, Item]:
    """The exported files of a result folder by name."""
    return {name: GraphFile(folder / name) for name in names}


def target_artifact(folder: Path, target: str, workload: Workload) -> Item:
    """What a target runs of a result folder: the ONNX file of the workload's precision, or the checkpoint."""
    kind = open_target(target).artifact
    if kind not in GRAPH_FORMS:
        return Checkpoint(checkpoint_of(folder))
    return GraphFile(folder / graph_form(kind, workload).file_name)


def measurement_from_json(value: dict[str, Any]) -> Measurement:
    """Read `Measurement.to_json`'s form."""
    workload = Workload(**value["workload"])
    return Measurement(**{**value, "workload": workload, "process_medians_ms": tuple(value["process_medians_ms"])})
