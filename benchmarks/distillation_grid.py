#!/usr/bin/env python3
"""What each choice of a distillation is worth: starts, knowledge, matchings, recipes and shapes, several seeds each.

`distillation_grid.py trec=DIR sst2=DIR …` teaches the students that are still missing in `benchmarks/results/
distillation_grid/`, stage after stage, and writes `docs/guideline.md` from all that are there.
"""

import json
import multiprocessing
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache, partial
from pathlib import Path
from typing import Annotated, Any

import typer
from grid.cells import STAGES, Cell, cells_of
from grid.page import page
from grid.teaching import machine, references, spec_of, teach
from named import named_folders
from workers import in_workers

from distill.checkpoints import weights_hash
from distill.classroom import Classroom, classroom
from distill.initialization import check_start, find_initialization, random_weights
from distill.tasks import load_task
from distill.teachers import prepare_teacher
from runs.errors import UserError
from runs.files import content_hash, read_json, write_bytes_atomic, write_json_atomic
from runs.progress import Progress
from runs.registry import unknown_name

RESULTS = Path(__file__).resolve().parent / "results" / "distillation_grid"
PAGE = Path(__file__).resolve().parent.parent / "docs" / "guideline.md"
STEPS_PER_CLASS, LEAST_STEPS = 6, 500
"""A task of many classes gets more steps: 500, or 6 a class."""

MOST_SEEDS = 20


@lru_cache(maxsize=4)
def room_of(place: str, teacher: str | None) -> Classroom:
    """The classroom of a data folder, its teacher fitted if it is not yet."""
    progress = Progress(quiet=multiprocessing.parent_process() is not None)
    task = load_task(place, progress, None)
    room = classroom(prepare_teacher(teacher, task, progress), task)
    # What one student has stored of the teacher serves all that come after it.
    room.least_visits = 0.0
    return room


def work(places: Mapping[str, str], teacher: str | None, cell: Cell) -> dict[str, Any]:
    """One cell, in a worker."""
    return teach(room_of(places[cell.task], teacher), cell).to_json()


def stored(results: Path, name: str) -> dict[str, Any]:
    """What is there of a task: `teacher`, `references`, `machines`, and `cells` by place."""
    path = results / f"{name}.json"
    return dict(read_json(path, "results")) if path.is_file() else {"cells": {}}


def missing(
    tasks: Sequence[str],
    stages: Sequence[str],
    seeds: range,
    steps: dict[str, int],
    have: dict[str, Any],
    tables: Sequence[str] = (),
) -> Iterator[Cell]:
    """Cells that no run has taught yet, stage after stage, of some tables or all."""
    for name in stages:
        for task in tasks:
            for cell in cells_of(name, task, steps[task], seeds):
                if cell.place not in have[task]["cells"] and (not tables or cell.table in tables):
                    yield cell


def already_taught(cell: Cell, have: dict[str, Any]) -> dict[str, Any] | None:
    """The outcome of a cell that another stage or table has had taught in the same way, under this cell's names."""
    for found in have["cells"].values():
        if found["key"] == cell.key:
            return {**found, "stage": cell.stage, "table": cell.table, "arm": cell.arm}
    return None


def can_start(room: Classroom, cell: Cell) -> bool:
    """Whether this teacher can give the cell's student its start.

    Whole layers need the teacher's own widths, and from a teacher of another kind than BERT nothing can be cut.
    """
    if find_initialization(cell.recipe.initialization) is random_weights:
        return True
    try:
        check_start(cell.recipe.initialization, spec_of(room, cell.shape), room.student_form.config.spec_object)
    except UserError:
        return False
    return True


def prepare(results: Path, name: str, place: str, teacher: str | None) -> tuple[dict[str, Any], int]:
    """What is there of a task under this teacher, and the steps that its students get.

    Raises `UserError` for results of another teacher, or of the same one fitted to other weights: its students do not
    belong in one table with these.
    """
    room, have = room_of(place, teacher), stored(results, name)
    hashes = room.teacher.content_hash, weights_hash(room.teacher.folder)
    if have["cells"] and (have["teacher"], have.get("teacher_weights", hashes[1])) != hashes:
        raise UserError(
            f"{results / name}.json is of another fitted teacher ({have['teacher_name']}, {have['teacher']}): move it "
            "away, or give this task another name."
        )
    if not have["cells"]:
        have = {
            "teacher": hashes[0],
            "teacher_weights": hashes[1],
            "teacher_name": room.teacher.name,
            "task": room.task.name,
            "examples": len(room.task.train),
            "classes": len(room.task.label_names),
            "references": references(room),
            "machines": {},
            "cells": {},
        }
        write_json_atomic(results / f"{name}.json", have)
    steps = max(LEAST_STEPS, STEPS_PER_CLASS * len(room.task.label_names))
    # Students of recipes that have changed since count for nothing either.
    known = {cell.place for stage in STAGES for cell in cells_of(stage, name, steps, range(MOST_SEEDS))}
    have["cells"] = {place: cell for place, cell in have["cells"].items() if place in known}
    # What the workers would otherwise all make at once.
    _ = room.train_logits, room.validation_logits
    with suppress(UserError):
        _ = room.importance
    return have, steps


def check_names(kind: str, given: Sequence[str], known: list[str]) -> None:
    """Raise `UserError` for a name that is none."""
    for name in given:
        if name not in known:
            raise unknown_name(kind, name, known)


def main(
    tasks: Annotated[list[str], typer.Argument(help="NAME=FOLDER for each task: its data, and what results call it.")],
    teacher: Annotated[str | None, typer.Option(help="Default: the embedded one.")] = None,
    stage: Annotated[list[str], typer.Option(help="May be repeated. Default: all, one after the other.")] = [],  # noqa: B006
    seeds: int = 3,
    table: Annotated[list[str], typer.Option(help="May be repeated. Default: all of those stages.")] = [],  # noqa: B006
    minutes: Annotated[float, typer.Option(help="Begin no student after so long; the same command goes on.")] = 1e6,
    workers: int = 2,
    threads: Annotated[int, typer.Option(help="Of each worker.")] = 1,
    results: Path = RESULTS,
    page_file: Annotated[Path, typer.Option("--page")] = PAGE,
) -> None:
    """Teach what is missing, and write the page from all there is."""
    check_names("stage", stage, list(STAGES))
    check_names("table", table, [name for one in stage or STAGES for name in STAGES[one]()])
    places = named_folders(tasks)
    here = machine()
    have, steps = {}, {}
    for name, place in places.items():
        have[name], steps[name] = prepare(results, name, place, teacher)
        have[name].setdefault("machines", {})[content_hash(here, 8)] = here
    found = missing(list(places), stage or list(STAGES), range(seeds), steps, have, table)
    queue = [cell for cell in found if can_start(room_of(places[cell.task], teacher), cell)]

    def keep(cell: Cell, outcome: dict[str, Any]) -> None:
        have[cell.task]["cells"][cell.place] = {"machine": content_hash(here, 8), **outcome}
        write_json_atomic(results / f"{cell.task}.json", have[cell.task])
        shown.advance()

    def untaught() -> Iterator[Cell]:
        for cell in queue:
            if outcome := already_taught(cell, have[cell.task]):
                keep(cell, outcome)
            else:
                yield cell

    with Progress().task("teaching students", len(queue)) as shown:
        doing = partial(work, places, teacher)
        in_workers(untaught(), doing, keep, workers=workers, threads=threads, minutes=minutes)
    write_page(results, page_file)
    absent = sum(cell.place not in have[cell.task]["cells"] for cell in queue)
    print(json.dumps({"finished": not absent, "taught": len(queue) - absent, "missing": absent}))


def write_page(results: Path, page_file: Path) -> None:
    """The page from all results that are there, and from what a person wrote beside them."""
    found = {path.stem: dict(read_json(path, "results")) for path in sorted(results.glob("*.json"))}
    notes = results / "notes.md"
    figures = page_file.with_suffix("")
    text = page(found, notes.read_text(encoding="utf-8") if notes.is_file() else "", figures.name)
    figures.mkdir(parents=True, exist_ok=True)
    for name, content in text.items():
        write_bytes_atomic(figures / name if name else page_file, content.encode())


if __name__ == "__main__":
    try:
        typer.run(main)
    except UserError as problem:
        raise SystemExit(f"error: {problem}") from None
