"""From finalists to a student on disk: distilled in full, exported, and measured once more as it will be shipped."""

import shutil
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from devices.measurement import Measurement
from devices.target import open_target
from devices.workload import Workload
from export.calibration import calibrate_on
from export.form import DEFAULT_FORMS, Form
from export.items import Checkpoint, GraphFile, Item, item_key
from export.lowering import GRAPH_FORMS, graph_form
from export.memory import memory_bytes
from export.student import export_student
from nas.budget import Budget
from nas.candidates import finalists_of, further_finalists
from nas.context import SHIPPED, Context
from nas.cut import lighter, lighter_stage
from nas.finalists import Finalist
from nas.full_distillation import distillation_stage, distilled
from nas.limits import MEGABYTE, file_form
from nas.result_folder import CHECKPOINT, ENCODER, checkpoint_of
from nas.use import used_checkpoint
from runs.files import folder_atomic

CALIBRATION_TEXTS = 256
"""Training texts from which rounding learns how far numbers reach."""

DOUBTED = 1.05
"""Up to so many times the budget a student is measured once more: that costs a tenth of distilling another one, and a
shared machine's mood moves a measurement as far. One that is over even so is cut rather than another one distilled."""

WAITS = 2
"""So often a machine is waited for that has slowed by as much as a student is over its budget."""

WAIT_SECONDS = 60.0

SLOWED = 1.05
"""From so many times its earlier milliseconds on a teacher says that it is the machine: less may be its own noise."""

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
    discarded_ms: list[list[float]]
    """Milliseconds of student and teacher of each earlier try, after which the machine was waited for."""
    memory_bytes: dict[str, int]
    """What each file takes to run, by name (`export.memory`)."""


@dataclass(frozen=True)
class Timed:
    """Measurements by name, `student` and `teacher` among them, and milliseconds of these two in earlier tries."""

    measurements: dict[str, Measurement]
    discarded_ms: list[list[float]]

    @property
    def both_ms(self) -> list[float]:
        """Of student and teacher."""
        return [self.measurements[name].p50_ms for name in ("student", "teacher")]


def deliver(context: Context, budget: Budget, finalists: list[Finalist]) -> Delivered:
    """Export and measure finalists in turn until one keeps the budget as it will be shipped.

    A finalist was measured within the budget and its memory before it was distilled, so going on is for noise alone: to
    another try where the machine has slowed and to further processes where it is slightly over (`timed_as_shipped`),
    then to the same student with a few neurons and heads fewer (`lighter`), to finalists that stand by, and to smaller
    neighbours of the last. If none keeps what was asked for, the last is delivered and said to be over.
    """
    waiting = list(finalists)
    shipped = set[tuple[int, ...]]()
    cut = trimmed = False
    while True:
        finalist = waiting.pop(0)
        shipped.add(finalist.candidate.codes)
        delivered = _shipped(context, budget, finalist)
        too_much = excess(context, budget, delivered)
        if not too_much:
            return delivered
        if not cut and _slightly_slow(context, budget, delivered):
            cut = True
            context.progress.say(
                f"{budget.label}: measured {too_much} after export, which is over; looking for what can be cut away"
            )
            cutting = partial(lighter, context, budget, finalist, delivered.student.p50_ms)
            found = finalists_of(context.run.stage(lighter_stage(budget), cutting))
            found = [one for one in found if one.candidate.codes not in shipped]
            if found:
                # What was cut to the shape of one that stands by takes its place.
                cut_codes = found[0].candidate.codes
                waiting = [*found, *(one for one in waiting if one.candidate.codes != cut_codes)]
                continue
        context.progress.say(f"{budget.label}: measured {too_much} after export, which is over; trying the next")
        if not waiting and not trimmed:
            trimmed = True
            further = partial(further_finalists, context, budget, finalist)
            waiting = finalists_of(context.run.stage(f"{budget.label} further finalists", further))
            waiting = [one for one in waiting if one.candidate.codes not in shipped]
        if not waiting:
            context.progress.say(f"{budget.label}: no finalist is left; delivering the last, which is over")
            return delivered


def _slightly_slow(context: Context, budget: Budget, delivered: Delivered) -> bool:
    """Whether a student is over its milliseconds alone, by little."""
    slow = budget.latency_ms < delivered.student.p50_ms <= DOUBTED * budget.latency_ms
    return slow and not _heavy(context, budget, delivered)


def excess(context: Context, budget: Budget, delivered: Delivered) -> str:
    """What a student has too much of, milliseconds or memory; empty where it keeps both."""
    slow = "" if budget.holds(delivered.student) else f"{delivered.student.p50_ms:.2f} ms"
    return " and ".join(filter(None, (slow, _heavy(context, budget, delivered))))


def _heavy(context: Context, budget: Budget, delivered: Delivered) -> str:
    """What memory a student takes where that is too much; empty where it is not."""
    most = context.ground.scoring(budget).limits.memory_bytes
    taken = delivered.memory_bytes[target_file(context.ground.target, budget.workload)]
    return "" if most is None or taken <= most else f"{taken / MEGABYTE:.1f} MB of memory"


def export_stage(budget: Budget, finalist: Finalist) -> str:
    """Name of the stage in which a finalist is exported and measured once more."""
    return f"{budget.label} {SHIPPED} {item_key(finalist.candidate.spec)}"


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
        memory = {name: memory_bytes(folder / name, budget.workload) for name in forms}
        # Nothing is waited for where going on takes no longer; after one that was cut comes another in full.
        seconds = context.run.seconds(distillation_stage(budget, finalist))
        patient = finalist.cut_from is not None or seconds > WAIT_SECONDS
        timed = timed_as_shipped(context, budget, items, WAITS if patient else 0)
        measured = {name: value.to_json() for name, value in timed.measurements.items()}
        return {"measured": measured, "discarded_ms": timed.discarded_ms, "memory_bytes": memory}

    found = context.run.stage(export_stage(budget, finalist), run)
    measured = {name: measurement_from_json(value) for name, value in found["measured"].items()}
    student, teacher = measured.pop("student"), measured.pop("teacher")
    files_ms = {name: measurement.p50_ms for name, measurement in measured.items()}
    if files_ms:
        files_ms[graph_form("onnx-fused", budget.workload).file_name] = student.p50_ms
    return Delivered(finalist, student, teacher, files_ms, found["discarded_ms"], found["memory_bytes"])


def timed_as_shipped(context: Context, budget: Budget, items: dict[str, Item], waits: int = WAITS) -> Timed:
    """Measurements of the `student` among the items, of its `teacher` and of what stands beside them.

    The teacher says whether it is the machine that has slowed: if it has, and the student would keep the budget at the
    usual pace, the machine is waited for and all are timed anew, `waits` times at most. A student that is over by 5 %
    at most after that is timed over twice as many processes, the first ones counted in.
    """
    mark, label = item_key(items["student"]), budget.label

    def time_all(discarded_ms: list[list[float]], times: int = 1) -> Timed:
        # Fresh keys: what was measured before belongs to another mood of the machine.
        again = f", again after {len(discarded_ms)}" if discarded_ms else ""
        keys = {name: f"{name} at the end, {mark}{again}" for name in items}
        timed = context.time({keys[name]: item for name, item in items.items()}, budget.workload, times)
        return Timed({name: timed[key] for name, key in keys.items()}, discarded_ms)

    usual_ms = context.usual_teacher_ms(budget.workload.precision)
    timed = time_all([])
    while len(timed.discarded_ms) < waits:
        student_ms, teacher_ms = timed.both_ms
        slowed = teacher_ms / usual_ms
        # What slows a teacher slows a small student by up to twice as much.
        if slowed < SLOWED or not budget.latency_ms < student_ms <= slowed**2 * budget.latency_ms:
            break
        context.progress.say(
            f"{label}: measured {student_ms:.2f} ms, but the machine has slowed, its teacher by "
            f"{100 * (slowed - 1):.0f} %; timing all again in {WAIT_SECONDS:.0f} s"
        )
        time.sleep(WAIT_SECONDS)
        timed = time_all([*timed.discarded_ms, timed.both_ms])
    student_ms, _ = timed.both_ms
    if not budget.latency_ms < student_ms <= DOUBTED * budget.latency_ms:
        return timed
    context.progress.say(f"{label}: measured {student_ms:.2f} ms, slightly over; asking as many processes again")
    return time_all(timed.discarded_ms, times=2)


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


def target_file(target: str, workload: Workload) -> str:
    """Name of the file that stands for a result: the one that its target runs, or the portable one."""
    return file_form(open_target(target).artifact, workload).file_name


def measurement_from_json(value: dict[str, Any]) -> Measurement:
    """Read `Measurement.to_json`'s form."""
    workload = Workload(**value["workload"])
    return Measurement(**{**value, "workload": workload, "process_medians_ms": tuple(value["process_medians_ms"])})
