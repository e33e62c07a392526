#!/usr/bin/env python3
"""What a step of teaching a language model costs: seconds of work and of the kernel's, and the most memory.

`language_step.py TEXTS --teacher SMOLLM2` takes the same few batches again and again, in a process of each arm in turn:
with a teacher that is run at every step, with one whose texts are remembered, and with words that are scored some after
others as well, which is what a run does. `--results` has the last call alone.
"""

import json
import resource
import subprocess
import sys
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Annotated, Any

import torch
import typer
from grid.cells import Shape
from grid.teaching import machine, spec_of

from distill import word_scores
from distill.classroom import classroom
from distill.course import begun
from distill.optimization import make_optimizer
from distill.recipe import Optimization, Recipe, Term
from distill.tasks import load_task
from distill.teachers import prepare_teacher
from runs.errors import UserError
from runs.files import write_json_atomic
from runs.progress import Progress

RESULTS = Path(__file__).resolve().parent / "results" / "language_step.json"
ARMS = {
    "teacher run": (False, sys.maxsize),
    "texts remembered": (True, sys.maxsize),
    "and words in chunks": (True, word_scores.CHUNK_BYTES),
}
"""Arm → whether what the teacher makes of texts is remembered, and how many bytes of scores are made at once."""

SHAPE = Shape(4, 256, 8, 1024)
BATCHES = 3


def steps(texts: str, teacher: str | None, arm: str, rounds: int, batch_size: int) -> list[dict[str, float]]:
    """Each step's seconds after the first round, in which texts are new to all arms."""
    torch.set_num_threads(1)
    remembers, word_scores.CHUNK_BYTES = ARMS[arm]
    progress = Progress(quiet=True)
    task = load_task(texts, progress, "causal-lm")
    room = classroom(prepare_teacher(teacher, task, progress), task)
    settings = Optimization(learning_rate=1e-3, epochs=1, batch_size=batch_size)
    found = []
    with begun(room, spec_of(room, SHAPE, SHAPE.hidden_width), Recipe("step", (Term("logits"),), settings, "random"), 0,
               steps=BATCHES) as run:  # fmt: skip
        lesson = run.lesson
        lesson.remembered = lesson.remembered if remembers else None
        lesson.train()
        optimizer = make_optimizer(lesson, settings)
        for number in range((rounds + 1) * BATCHES):
            before, start = resource.getrusage(resource.RUSAGE_SELF), perf_counter()
            lesson(**run.batches[number % BATCHES])["loss"].backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            seconds, after = perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF)
            if number >= BATCHES:
                found.append({"seconds": seconds, "user": after.ru_utime - before.ru_utime,
                              "system": after.ru_stime - before.ru_stime,
                              "most_mb": after.ru_maxrss / 1e3})  # fmt: skip
    return found


def main(
    texts: Annotated[str, typer.Argument(help="Folder or file with a column `text`, or a plain text.")],
    teacher: Annotated[str | None, typer.Option(help="Default: the embedded one.")] = None,
    rounds: Annotated[int, typer.Option(help=f"Of {BATCHES} steps each, in each process.")] = 2,
    repeats: Annotated[int, typer.Option(help="Processes of each arm, in turn.")] = 3,
    batch_size: int = 16,
    arm: Annotated[str, typer.Option(help="One arm alone, printed as JSON and not stored.")] = "",
    results: Path = RESULTS,
) -> None:
    """Take the steps, print their medians and store them."""
    if arm:
        if arm not in ARMS:
            raise UserError(f"{arm!r} is no arm: use {', '.join(ARMS)}.")
        print(json.dumps(steps(texts, teacher, arm, rounds, batch_size)))
        return
    progress = Progress()
    taken: dict[str, list[dict[str, float]]] = {name: [] for name in ARMS}
    prepare_teacher(teacher, load_task(texts, progress, "causal-lm"), progress)
    with progress.task("taking steps", repeats * len(ARMS)) as shown:
        for _ in range(repeats):
            for name in ARMS:
                command = [sys.executable, __file__, texts, "--arm", name, "--rounds", str(rounds),
                           "--batch-size", str(batch_size), *(["--teacher", teacher] if teacher else [])]  # fmt: skip
                done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
                taken[name] += json.loads(done.stdout.splitlines()[-1])
                shown.advance()
    middle: dict[str, Any] = {
        name: {what: round(median(one[what] for one in found), 3) for what in found[0]} for name, found in taken.items()
    }
    write_json_atomic(results, {"machine": machine(), "teacher": teacher, "batch_size": batch_size,
                                "medians": middle, "steps": taken})  # fmt: skip
    for name, one in middle.items():
        progress.say(f"{name}: {one['seconds']:.2f} s a step ({one['user']:.2f} of work, {one['system']:.2f} of the "
                     f"kernel), {one['most_mb']:.0f} MB at most")  # fmt: skip


if __name__ == "__main__":
    try:
        typer.run(main)
    except UserError as problem:
        raise SystemExit(f"error: {problem}") from None
