#!/usr/bin/env python3
"""What a teacher is worth to students that are language models: perplexity with it and without, at equal steps.

`language_students.py TEXTS --kind masked-lm` teaches one student with its teacher's answers and one by the words alone,
from the same start, on the same texts in the same order; what is stored in `--results` is not done again.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any

import torch
import typer
from grid.cells import SMALL, Shape
from grid.teaching import machine, spec_of
from perplexities import BLOCK, perplexity, read, times

from distill.brief import train_briefly
from distill.classroom import Classroom, classroom
from distill.course import begun
from distill.examples import Split, Task
from distill.recipe import Optimization, Recipe, Term
from distill.tasks import load_task
from distill.teachers import prepare_teacher
from runs.errors import UserError
from runs.files import content_hash, read_json, write_json_atomic
from runs.progress import Progress

RESULTS = Path(__file__).resolve().parent / "results" / "language_students.json"
LEARNT = {
    "words": (Term("labels"),),
    "words and teacher": (Term("labels", weight=0.5), Term("logits", weight=0.5)),
    "teacher": (Term("logits"),),
}
"""Arm → what is learnt; the first has no teacher."""


@dataclass(frozen=True)
class Setting:
    """How the students of one kind are made: shape, batch, start and rate."""

    shape: Shape
    embedding_width: int
    start: str
    batch_size: int
    learning_rate: float

    def recipe(self, arm: str) -> Recipe:
        """The recipe of an arm; its length is the run's."""
        settings = Optimization(learning_rate=self.learning_rate, epochs=1, batch_size=self.batch_size)
        return Recipe(arm, LEARNT[arm], settings, self.start)


SETTINGS: dict[str, Setting] = {
    # Cut from the teacher, a MiniLM under its own words.
    "masked-lm": Setting(SMALL, 192, "refitted", 32, 3e-4),
    # Nothing can be cut from a Llama; 49,000 words are most of the student, so that their table is narrow.
    "causal-lm": Setting(Shape(4, 256, 8, 1024), 128, "random", 8, 1e-3),
}


def shortened(task: Task, train: int, read: int) -> Task:
    """The first texts of each split."""

    def first(split: Split, count: int) -> Split:
        return Split(split.texts[:count], None, split.labels[:count])

    return replace(
        task,
        train=first(task.train, train),
        validation=first(task.validation, read),
        test=first(task.test, read),
        content_hash=content_hash([task.content_hash, train, read]),
    )


def teach(room: Classroom, setting: Setting, arm: str, steps: int, seed: int) -> dict[str, Any]:
    """One student, as it is after its last step."""
    spec, recipe = spec_of(room, setting.shape, setting.embedding_width), setting.recipe(arm)
    with begun(room, spec, recipe, seed, steps=steps) as run:
        start = perf_counter()
        train_briefly(run.lesson, run.batches, recipe.optimization)
        seconds = perf_counter() - start
        found = read(room, run.lesson.student, room.task.test)
    return {"parameters": spec.parameters(), "seconds": round(seconds), "blocks": found}


def summary(cells: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Each arm's perplexity, and how many times the first arm's, with a paired interval over blocks and seeds."""
    base = next(iter(LEARNT))
    arms: dict[str, dict[str, Any]] = {}
    for arm in LEARNT:
        by_seed = {key.rpartition("/")[2]: cell["blocks"] for key, cell in cells.items() if key.startswith(f"{arm}/")}
        if not by_seed:
            continue
        arms[arm] = {"seeds": len(by_seed), "perplexity": round(perplexity(list(by_seed.values())), 2)}
        both = [seed for seed in by_seed if f"{base}/{seed}" in cells]
        if arm != base and both:
            theirs = [cells[f"{base}/{seed}"]["blocks"] for seed in both]
            arms[arm]["times"] = times([by_seed[seed] for seed in both], theirs)
    return arms


def main(
    texts: Annotated[str, typer.Argument(help="Folder or file with a column `text`.")],
    kind: Annotated[str, typer.Option(help="masked-lm or causal-lm.")] = "masked-lm",
    teacher: Annotated[str | None, typer.Option(help="Default: the embedded one.")] = None,
    train: Annotated[int, typer.Option(help="Texts to learn from, each cut to 128 tokens.")] = 10_000,
    texts_read: Annotated[int, typer.Option("--read", help="Texts of the test split.")] = 400,
    steps: int = 400,
    seeds: int = 1,
    arm: Annotated[list[str], typer.Option(help=f"May be repeated, of {', '.join(LEARNT)}. Default: all.")] = [],  # noqa: B006
    threads: int = 1,
    results: Path = RESULTS,
) -> None:
    """Teach what is missing, one student after the other, and print what came out."""
    if kind not in SETTINGS:
        raise UserError(f"{kind!r} is no language model: use {' or '.join(SETTINGS)}.")
    if unknown := [one for one in arm if one not in LEARNT]:
        raise UserError(f"{unknown[0]!r} is no arm: use {', '.join(LEARNT)}.")
    torch.set_num_threads(threads)
    progress, setting = Progress(), SETTINGS[kind]
    task = shortened(load_task(texts, progress, kind), train, texts_read)
    room = classroom(prepare_teacher(teacher, task, progress), task)
    stored = dict(read_json(results, "results")) if results.is_file() else {}
    decides = [room.teacher.content_hash, task.content_hash, steps, str(setting), BLOCK]
    have = stored.get(kind)
    if have is None or have["decides"] != decides:
        have = {"decides": decides, "teacher": room.teacher.name, "task": task.name, "train": len(task.train),
                "read": len(task.test), "steps": steps, "fingerprint": machine(), "batch_size": setting.batch_size,
                "teacher_perplexity": round(perplexity(read(room, room.model, task.test)), 2), "cells": {}}  # fmt: skip
    stored[kind] = have
    write_json_atomic(results, stored)
    wanted = [(one, seed) for seed in range(seeds) for one in arm or LEARNT if f"{one}/{seed}" not in have["cells"]]
    with progress.task(f"teaching {kind} students", len(wanted)) as shown:
        for one, seed in wanted:
            have["cells"][f"{one}/{seed}"] = teach(room, setting, one, steps, seed)
            write_json_atomic(results, stored)
            shown.advance()
    have["summary"] = summary(have["cells"])
    write_json_atomic(results, stored)
    progress.say(f"{room.teacher.name}: perplexity {have['teacher_perplexity']}")
    for name, found in have["summary"].items():
        beside = "{:.3f} times ({:.3f}-{:.3f})".format(*found["times"]) if "times" in found else ""
        progress.say(f"{name}: perplexity {found['perplexity']}, {found['seeds']} seeds {beside}")


if __name__ == "__main__":
    try:
        typer.run(main)
    except UserError as problem:
        raise SystemExit(f"error: {problem}") from None
