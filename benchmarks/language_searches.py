#!/usr/bin/env python3
"""Are students of language models that a search found better than shapes made by hand that fill the same budget?

`language_searches.py RUN` takes the run folder of a finished search for masked or next words, teaches each shape what
the search's student learnt, from the same teacher by the same recipe for as many steps, and stores in `--results` the
perplexities of all on the test texts, block by block. What is there is not done again.
"""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from grid.teaching import machine
from perplexities import perplexity, read, times
from quality.handmade import scaled

from devices.workload import Workload
from distill.classroom import Classroom, classroom
from distill.distillation import distil
from distill.kinds import KINDS, LanguageModel
from distill.recipe_file import RECIPES
from distill.tasks import load_task
from distill.teachers import prepare_teacher
from nas.device import time_items
from nas.schedule import EFFORTS
from nas.use import used_head
from profiler.profile import load_profile
from runs.errors import UserError
from runs.files import read_json, write_json_atomic
from runs.progress import Progress
from students.model import load_student
from students.spec import StudentSpec

RESULTS = Path(__file__).resolve().parent / "results" / "language_searches.json"
SHAPES_TRIED = ("tinybert-4", "bert-tiny", "minilm-l6-h384")
REPLAY = "replay:"


def student_of(run: Path, label: str) -> dict[str, Any]:
    """The verdict on a search's student, with `recipe`, by name, and `steps` of its full distillation."""
    folder = run / "students" / label
    verdict = dict(read_json(folder / "verdict.json", "verdict"))
    if not isinstance(KINDS[verdict["task"]], LanguageModel):
        raise UserError(f"{run} is a search for {verdict['task']}: give one for masked-lm or causal-lm.")
    if not verdict["target"].startswith(REPLAY):
        raise UserError(f"{run} was timed on {verdict['target']}: give a search on a replayed profile.")
    taught = read_json(folder / "student" / "distilled.json", "student's record")["settings"]
    return verdict | {"recipe": taught["recipe"]["name"], "steps": verdict["schedule"]["final_steps"]}


def as_used(spec: StudentSpec) -> StudentSpec:
    """A student's shape under the head that it is timed with."""
    return replace(spec, head=used_head(spec.head))


def predicted_ms(profile: Path, workload: Workload, specs: Sequence[StudentSpec]) -> Any:
    """What a replayed profile says of each [n], on the machine as disturbed as it usually was."""
    found = load_profile(profile)
    return found.disturbance(workload).usual * found.predictor.predict([as_used(spec) for spec in specs], workload)


def cell(room: Classroom, model: Any, ms: float) -> dict[str, Any]:
    """What is kept of a model: its weights, what a profile says of it, and how well it knows words."""
    spec = model.config.spec_object
    return {
        "spec": spec.to_json(),
        "parameters": spec.parameters(),
        "predicted_ms": round(ms, 4),
        "validation": round(perplexity(read(room, model, room.task.validation)), 3),
        "blocks": read(room, model, room.task.test),
    }


def summary(cells: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Perplexities on test, and how many times that of the shape which is best on validation the search's is."""
    by_hand = [name for name in cells if name != "searched"]
    found: dict[str, Any] = {name: round(perplexity(one["blocks"]), 2) for name, one in cells.items()}
    if by_hand and "searched" in cells:
        best = min(by_hand, key=lambda name: (cells[name]["validation"], name))
        found["best by hand"] = best
        found["times"] = times(cells["searched"]["blocks"], cells[best]["blocks"])
    return found


def main(
    run: Annotated[Path, typer.Argument(help="Run folder of a finished search on a replayed profile.")],
    name: Annotated[str, typer.Option(help="What the results call it. Default: the run folder's name.")] = "",
    shape: Annotated[list[str], typer.Option(help="Made by hand; may be repeated.")] = list(SHAPES_TRIED),  # noqa: B006
    clock: Annotated[bool, typer.Option(help="Time all of them too, on what the profile is of.")] = False,
    results: Path = RESULTS,
) -> None:
    """Teach what is missing, one student after the other, and print what came out."""
    progress = Progress()
    settings = read_json(run / "run.json", "run")["settings"]
    labels = sorted(place.parent.name for place in (run / "students").glob("*/verdict.json"))
    if len(labels) != 1:
        raise UserError(f"{run} holds students of {len(labels)} budgets: give a finished search of one.")
    (label,) = labels
    verdict = student_of(run, label)
    profile, workload = Path(verdict["target"].removeprefix(REPLAY)), Workload(**verdict["workload"])
    task = load_task(settings["data"], progress, verdict["task"])
    effort = EFFORTS[settings["effort"]]
    teacher = prepare_teacher(settings["teacher"], task, progress, training=effort.fitting(task.kind))
    room, recipe = classroom(teacher, task), effort.recipe(RECIPES[verdict["recipe"]], task.kind)
    stored = dict(read_json(results, "results")) if results.is_file() else {}
    name = name or run.name
    decides = [room.teacher.content_hash, task.content_hash, verdict["recipe"], verdict["steps"], settings["seed"],
               verdict["budget_ms"]]  # fmt: skip
    have = stored.get(name)
    if have is None or have["decides"] != decides:
        have = {"decides": decides, "task": task.kind, "data": task.name, "texts": len(task.train),
                "method": verdict["method"], "recipe": verdict["recipe"], "steps": verdict["steps"],
                "budget_ms": verdict["budget_ms"], "teacher": room.teacher.name,
                "teacher_perplexity": round(perplexity(read(room, room.model, task.test)), 2),
                "bag_of_words_perplexity": round(1 / verdict["score"]["bag_of_words"], 2),
                "machine": machine(), "cells": {}}  # fmt: skip
    stored[name], cells = have, have["cells"]
    searched = load_student(run / "students" / label / "student")
    like = searched.config.spec_object

    def keep(what: str, model: Any) -> None:
        cells[what] = cell(room, model, float(predicted_ms(profile, workload, [model.config.spec_object])[0]))
        have["summary"] = summary(cells)
        write_json_atomic(results, stored)

    if "searched" not in cells:
        keep("searched", searched)
    for one in shape:
        if one not in cells:
            spec = scaled(one, verdict["budget_ms"], lambda specs: predicted_ms(profile, workload, specs), like)
            folder = run / "by-hand" / one
            progress.say(f"{one}: {len(spec.layers)} layers of {spec.hidden_width} channels")
            done = distil(spec, room.teacher, task, recipe, folder, seed=settings["seed"],
                          steps=verdict["steps"], progress=progress)  # fmt: skip
            keep(one, load_student(done.folder))
            shutil.rmtree(folder)
    if clock:
        specs = {what: as_used(StudentSpec.from_json(one["spec"])) for what, one in cells.items()}
        timed = time_items(specs, load_profile(profile).target, workload, settings["seed"], progress)
        for what, measurement in timed.items():
            cells[what]["measured_ms"] = round(measurement.p50_ms, 4)
        write_json_atomic(results, stored)
    for what, one in cells.items():
        progress.say(f"{what}: perplexity {have['summary'][what]}, {one['predicted_ms']} ms foretold, "
                     f"{one.get('measured_ms', '-')} measured, {one['parameters'] / 1e6:.1f} M weights")  # fmt: skip
    progress.say(f"teacher {have['teacher_perplexity']}; {have['summary'].get('times')}")


if __name__ == "__main__":
    try:
        typer.run(main)
    except UserError as problem:
        raise SystemExit(f"error: {problem}") from None
