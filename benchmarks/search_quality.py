#!/usr/bin/env python3
"""What a search is worth: its students beside shapes made by hand and beside random search, at equal latency.

`search_quality.py trec=DIR … --budget-ms 0.5 --budget-ms 1` searches by every method, distils hand-made shapes that
fill the same budgets by the same recipe for as many steps, and writes `docs/benchmarks/search.md` from all that is
stored in `benchmarks/results/search_quality/`. What is there is not done again. Another machine can go on: latencies
are those of the stored profile `benchmarks/profile`, and what is compared seed by seed comes from one fitted teacher.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import product
from pathlib import Path
from typing import Annotated, Any

import typer
from continued import still_to_do
from grid.teaching import as_text, machine, references, test_split
from named import named_folders
from quality.handmade import NAMES, scaled
from quality.page import BY_HAND, RANDOM, RANDOM_TWICE, page
from workers import in_workers

from devices.workload import Workload
from distill.checkpoints import weights_hash
from distill.classroom import Classroom, classroom
from distill.distillation import distil
from distill.evaluation import answer
from distill.recipe_file import RECIPES
from distill.tasks import load_task
from distill.teachers import prepare_teacher
from nas.methods import METHODS
from nas.schedule import EFFORTS
from nas.search import SearchSettings, search
from profiler.folder import PREDICTOR_FILE
from profiler.profile import load_profile
from runs.errors import UserError
from runs.files import content_hash, read_json, write_bytes_atomic, write_json_atomic
from runs.progress import Progress
from students.bert import load_model
from students.shapes import SHAPES
from students.spec import StudentSpec

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "search_quality"
PAGE = HERE.parent / "docs" / "benchmarks" / "search.md"
PROFILE = HERE / "profile"
IN = " in "
"""Between a method and a space of its own, where it is not to search that of the comparison."""
METHODS_COMPARED = ("kd-nas", "random", "ridge", "autotinybert", "evolution", RANDOM_TWICE)


@dataclass(frozen=True)
class Job:
    """One student: found by a method, or of a shape made by hand (`spec`)."""

    task: str
    budget_ms: float
    how: str
    seed: int
    spec: StudentSpec | None = None

    @property
    def group(self) -> tuple[str, ...]:
        """Those whose differences are taken seed by seed."""
        return self.task, f"{self.budget_ms:g}", str(self.seed)

    @property
    def place(self) -> str:
        """Where what it comes to stands among the results."""
        return f"{self.budget_ms:g}/{self.how}/{self.seed}"


@dataclass(frozen=True)
class Setting:
    """What all students of a comparison share."""

    data: Mapping[str, str]
    teacher: str | None
    profile: Path
    workload: Workload
    space: str
    effort: str
    scratch: Path

    def predicted_ms(self, specs: Sequence[StudentSpec]) -> Any:
        """What a clock should show of each [n]: what a replayed profile says, and so what finalists are held to."""
        profile = load_profile(self.profile)
        return profile.disturbance(self.workload).usual * profile.predictor.predict(specs, self.workload)


@lru_cache(maxsize=4)
def room_of(data: str, teacher: str | None, effort: str, quiet: bool = True) -> Classroom:
    """The classroom of a data folder; its teacher is fitted as a search of that effort fits it."""
    progress = Progress(quiet=quiet)
    task = load_task(data, progress, None)
    fitting = EFFORTS[effort].fitting(task.kind)
    return classroom(prepare_teacher(teacher, task, progress, training=fitting), task)


def work(setting: Setting, job: Job) -> dict[str, Any]:
    """What a job comes to, in a worker."""
    room = room_of(setting.data[job.task], setting.teacher, setting.effort)
    folder = setting.scratch / job.task / job.place.replace(": ", "-")
    found = searched(setting, room, job, folder) if job.spec is None else by_hand(setting, room, job, job.spec, folder)
    student = load_model(Path(found.pop("checkpoint")))
    test = test_split(room)
    validation = answer(student, room.validation, room.task.kind).argmax(-1) == room.validation.labels
    right = answer(student, test, room.task.kind).argmax(-1) == test.labels
    spec = student.config.spec_object
    # All that is asked of it is known now, and hundreds of students would fill a disk.
    shutil.rmtree(folder, ignore_errors=True)
    return {
        "spec": spec.to_json(),
        "weights": weights_hash(room.teacher.folder),
        "predicted_ms": float(setting.predicted_ms([spec])[0]),
        "validation": float(validation.mean()),
        "test": float(right.mean()),
        "right": as_text(right),
        **found,
    }


def searched(setting: Setting, room: Classroom, job: Job, folder: Path) -> dict[str, Any]:
    """The checkpoint that a search ends with, its seconds by stage, and all optimizer steps it took."""
    settings = SearchSettings(
        budgets_ms=(job.budget_ms,),
        workload=setting.workload,
        target=f"replay:{setting.profile}",
        # Fitted already: no method gets another teacher than the others.
        teacher=str(room.teacher.folder),
        data=setting.data[job.task],
        method=method_of(job.how),
        space=space_of(setting.space, job.how),
        effort=effort_of(setting.effort, job.how),
        seed=job.seed,
        output=folder,
    )
    (verdict,) = search(settings, Progress(quiet=True))
    schedule = verdict["schedule"]
    trying = schedule["candidates"] * schedule.get("steps", 0) + schedule.get("supernet_steps", 0)
    return {
        "checkpoint": str(Path(verdict["folder"]) / "student"),
        "seconds": {name: verdict["seconds"][name] for name in ("search", "distill")},
        "steps": {"search": trying, "distill": schedule["final_steps"]},
        "candidates": schedule["candidates"],
    }


def space_of(name: str, how: str) -> str:
    """The space that is searched: the one it is `METHOD in SPACE` of, a method's own, or that of the comparison."""
    own = METHODS[method_of(how)].space
    return how.partition(IN)[2] or (name if own == "hybrid" else own)


def method_of(how: str) -> str:
    """The method by which a student is searched for."""
    return RANDOM if how == RANDOM_TWICE else how.partition(IN)[0]


def effort_of(name: str, how: str) -> str:
    """The effort of a search, made in this process if it is a doubled one."""
    if how != RANDOM_TWICE:
        return name
    twice = replace(EFFORTS[name], name=f"{name}, twice", episodes=2 * EFFORTS[name].episodes)
    if twice.name not in EFFORTS.names():
        EFFORTS.register(twice.name)(twice)
    return twice.name


def final_steps(setting: Setting, room: Classroom, budget_ms: float) -> int:
    """Optimizer steps of a full distillation, as many as a search's."""
    settings = RECIPES[METHODS[METHODS_COMPARED[0]].recipe].optimization
    own = settings.steps(len(room.task.train), len(room.task.label_names))
    profile, teacher = load_profile(setting.profile), room.student_form.config.spec_object
    share = budget_ms / float(profile.predictor.predict([teacher], setting.workload)[0])
    return EFFORTS[setting.effort].full_steps(own, min(1.0, share))


def by_hand(setting: Setting, room: Classroom, job: Job, spec: StudentSpec, folder: Path) -> dict[str, Any]:
    """The checkpoint of a hand-made shape in the same recipe, its seconds and steps."""
    steps = final_steps(setting, room, job.budget_ms)
    recipe = METHODS[METHODS_COMPARED[0]].recipe
    done = distil(spec, room.teacher, room.task, recipe, folder, seed=job.seed, steps=steps)
    seconds = {"search": 0.0, "distill": done.seconds}
    return {"checkpoint": str(done.folder), "seconds": seconds, "steps": {"search": 0, "distill": done.steps}}


def shapes_of(setting: Setting, task: str, budget_ms: float, names: Sequence[str]) -> dict[str, StudentSpec]:
    """The hand-made shapes that a budget holds, each as wide as it does; others are named and left out."""
    like = room_of(setting.data[task], setting.teacher, setting.effort, False).student_form.config.spec_object
    found = {}
    for name in names:
        try:
            found[BY_HAND + name] = scaled(name, budget_ms, setting.predicted_ms, like)
        except UserError as problem:
            Progress().say(f"{task}: {problem}")
    return found


def prepare(results: Path, name: str, setting: Setting) -> dict[str, Any]:
    """What is there of a task; `UserError` for results of another teacher, profile, space or effort.

    A teacher that was fitted on another machine has other weights, and so answers of its own among `references`.
    """
    room, path = room_of(setting.data[name], setting.teacher, setting.effort, False), results / f"{name}.json"
    asked = {
        "teacher": room.teacher.content_hash,
        "profile": content_hash((setting.profile / PREDICTOR_FILE).read_text(), 8),
        "recipe": content_hash(RECIPES[METHODS[METHODS_COMPARED[0]].recipe].to_json(), 8),
        "sequence_length": setting.workload.sequence_length,
        "space": setting.space,
        "effort": setting.effort,
    }
    if not path.is_file():
        about = {"teacher_name": room.teacher.name, "target": load_profile(setting.profile).target, "machines": {}}
        write_json_atomic(path, {"asked": asked, **about, "references": {}, "cells": {}})
    have = dict(read_json(path, "results"))
    for key, value in asked.items():
        if have["asked"][key] != value:
            raise UserError(f"{key} is {have['asked'][key]} in {path} and {value} here: give this task another name.")
    weights = weights_hash(room.teacher.folder)
    if weights not in have["references"]:
        have["references"][weights] = references(room)
    # What the workers would otherwise all make at once.
    _ = room.train_logits, room.validation_logits, room.importance
    return have


def main(
    tasks: Annotated[list[str], typer.Argument(help="NAME=FOLDER for each task: its data, and what results call it.")],
    profile: Annotated[Path, typer.Option(help="Folder of the device profile that latencies are from.")] = PROFILE,
    budget_ms: Annotated[list[float], typer.Option(help="May be repeated.")] = [0.5, 1.0],  # noqa: B006
    method: Annotated[list[str], typer.Option(help="Or `METHOD in SPACE`; may be repeated.")] = list(METHODS_COMPARED),  # noqa: B006
    shape: Annotated[list[str], typer.Option(help="Made by hand; may be repeated.")] = list(NAMES),  # noqa: B006
    seeds: int = 3,
    teacher: Annotated[str | None, typer.Option(help="Default: the embedded one.")] = None,
    sequence_length: int = 128,
    space: str = "hybrid",
    effort: str = "quick",
    minutes: Annotated[float, typer.Option(help="Begin nothing after so long; the same command goes on.")] = 1e6,
    workers: int = 2,
    threads: Annotated[int, typer.Option(help="Of each worker.")] = 1,
    results: Path = RESULTS,
    page_file: Annotated[Path, typer.Option("--page")] = PAGE,
) -> None:
    """Do what is missing, and write the page from all there is."""
    workload = Workload(sequence_length=sequence_length)
    for how, budget in product(method, budget_ms):
        SearchSettings((budget,), workload, method=method_of(how), space=space_of(space, how), effort=effort).check()
    _ = [SHAPES[name] for name in shape]
    data = named_folders(tasks)
    setting = Setting(data, teacher, profile.absolute(), workload, space, effort, results / "runs")
    here = machine()
    load_profile(profile)  # what is wrong with it is said before a teacher is fitted
    have = {name: prepare(results, name, setting) for name in data}
    hows = {
        (name, budget): shapes_of(setting, name, budget, shape) | dict.fromkeys(method)
        for name, budget in product(data, budget_ms)
    }
    jobs = [
        Job(name, budget, how, seed, spec)
        for seed in range(seeds)
        for (name, budget), every in hows.items()
        for how, spec in every.items()
    ]
    fitted = {name: weights_hash(room_of(data[name], teacher, effort).teacher.folder) for name in data}

    def stored(job: Job) -> dict[str, Any]:
        cells: dict[str, Any] = have[job.task]["cells"]
        return cells

    queue = still_to_do(jobs, stored, fitted)
    with Progress().task("searching and distilling", len(queue)) as shown:

        def keep(job: Job, outcome: dict[str, Any]) -> None:
            mark = content_hash(here, 8)
            have[job.task]["machines"][mark] = here
            have[job.task]["cells"][job.place] = {"machine": mark, **outcome}
            write_json_atomic(results / f"{job.task}.json", have[job.task])
            shown.advance()

        in_workers(iter(queue), partial(work, setting), keep, workers=workers, threads=threads, minutes=minutes)
    every = {path.stem: dict(read_json(path, "results")) for path in sorted(results.glob("*.json"))}
    write_bytes_atomic(page_file, page(every).encode())
    left = len(still_to_do(jobs, stored, fitted))
    print(json.dumps({"finished": not left, "done": len(queue) - left, "missing": left}))


if __name__ == "__main__":
    try:
        typer.run(main)
    except UserError as problem:
        raise SystemExit(f"error: {problem}") from None
