"""Teaching one student in full: resumable, stored by content, ending in a checkpoint folder."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from distill.batches import PlannedBatches, plan_batches
from distill.card import model_card
from distill.classroom import Classroom, classroom
from distill.evaluation import accuracy, answer, divergence, evaluate
from distill.examples import Task
from distill.lesson import Lesson, needs_teacher_inside
from distill.mini import MiniScore, mini_distil
from distill.recipe import RECIPES, Recipe
from distill.subset import draw_subset
from distill.teachers import Teacher
from distill.trainer import train
from runs.errors import UserError
from runs.files import content_hash, folder_atomic, read_json, write_bytes_atomic, write_json_atomic
from runs.progress import Progress
from students.spec import StudentSpec

__all__ = ["Distilled", "MiniScore", "distil", "evaluate", "mini_distil"]

SCHEMA = 1
DISTILLED_FILE = "distilled.json"
CHECKPOINT_STEPS = 100


@dataclass(frozen=True)
class Distilled:
    """A finished student. `divergence` is the mean KL to the teacher on validation, in nats; `loss` the training's.

    `seconds` are those of the attempt that finished, without what an interrupted one had done.
    """

    folder: Path
    validation_score: float
    divergence: float
    loss: float
    steps: int
    seconds: float


def _identity(
    spec: StudentSpec, teacher: Teacher, task: Task, recipe: Recipe, seed: int, steps: int, subset: float
) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "spec": spec.to_json(),
        "teacher": teacher.content_hash,
        "task": task.content_hash,
        "recipe": recipe.to_json(),
        "seed": seed,
        "steps": steps,
        "subset": subset,
    }


def _stored(output: Path, identity: str) -> Distilled | None:
    """The result of an earlier run of the same; `UserError` where the folder is something else's."""
    if not output.exists() or (output.is_dir() and not any(output.iterdir())):
        return None
    if not (output / DISTILLED_FILE).is_file():
        raise UserError(f"{output} is not empty and holds no distilled student: choose another output folder.")
    record = read_json(output / DISTILLED_FILE, "student's record")
    if record["identity"] != identity:
        raise UserError(f"{output} holds a student distilled with other settings: choose another output folder.")
    return Distilled(folder=output, **record["result"])


def _check(spec: StudentSpec, task: Task) -> None:
    if spec.head.kind != "classification" or spec.head.labels != len(task.label_names):
        raise UserError(
            f"the student's head has {spec.head.labels} labels of kind {spec.head.kind!r}, the data has "
            f"{len(task.label_names)} classes: give the student a classification head for them."
        )


def _lesson(room: Classroom, spec: StudentSpec, recipe: Recipe, seed: int) -> Lesson:
    teacher = room.model if needs_teacher_inside(recipe.terms) else None
    return Lesson(room.start(spec, recipe, seed), recipe.terms, teacher, seed)


def distil(
    spec: StudentSpec,
    teacher: Teacher,
    task: Task,
    recipe: Recipe | str,
    output: Path,
    *,
    seed: int = 0,
    progress: Progress | None = None,
    steps: int | None = None,
    subset: float = 1.0,
    checkpoint_steps: int = CHECKPOINT_STEPS,
) -> Distilled:
    """Teach a student of shape `spec` and leave it in `output` (save_pretrained, tokenizer, card, record).

    Goes on from a killed run's checkpoints, kept beside `output`; a finished student is not taught again. `steps`
    overrides the recipe's length, `subset` is the share of the train split that is seen. Raises `UserError` where
    `output` holds something else.
    """
    recipe = RECIPES[recipe] if isinstance(recipe, str) else recipe
    progress = progress or Progress(quiet=True)
    _check(spec, task)
    seen = draw_subset(len(task.train), subset, seed)
    settings = recipe.optimization
    steps = steps or settings.steps(len(seen))
    description = _identity(spec, teacher, task, recipe, seed, steps, subset)
    identity = content_hash(description, 16)
    stored = _stored(output, identity)
    if stored:
        return stored
    start = perf_counter()
    room = classroom(teacher, task)
    plan = [seen[part] for part in plan_batches(room.train.lengths[seen], settings.batch_size, steps, seed)]
    work = output.with_name(f".{output.name}.{identity}.training")
    lesson = _lesson(room, spec, recipe, seed)
    batches = PlannedBatches(room.train, plan, room.train_logits)
    loss = train(
        lesson,
        batches,
        settings,
        work,
        label="distilling the student",
        progress=progress,
        checkpoint_steps=checkpoint_steps,
        seed=seed,
    )
    logits = answer(lesson.student, room.validation)
    result: dict[str, Any] = {
        "validation_score": accuracy(logits, room.validation.labels),
        "divergence": divergence(logits, room.validation_logits),
        "loss": loss,
        "steps": steps,
        "seconds": round(perf_counter() - start, 3),
    }
    with folder_atomic(output) as folder:
        lesson.student.cpu().save_pretrained(folder)
        room.tokenizer.save_pretrained(folder)
        write_bytes_atomic(folder / "README.md", model_card(spec, teacher, task, recipe, result).encode())
        write_json_atomic(folder / DISTILLED_FILE, {"identity": identity, "settings": description, "result": result})
    shutil.rmtree(work, ignore_errors=True)
    return Distilled(folder=output, **result)
