"""Teaching one student in full: resumable, stored by content, ending in a checkpoint folder."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from distill.card import model_card
from distill.checkpoints import weights_hash
from distill.classroom import classroom
from distill.course import begun
from distill.curve import CURVE_FILE, Curve
from distill.evaluation import answer, evaluate
from distill.examples import Task
from distill.extra import NOTHING, Extra
from distill.initialization import earlier_model, kind_of_start
from distill.kinds import KINDS
from distill.mini import MiniScore, mini_distil
from distill.recipe import Recipe
from distill.recipe_file import RECIPES
from distill.teachers import Teacher
from distill.trainer import train
from distill.units import answer_in_numbers, learnt_as
from runs.errors import UserError
from runs.files import (
    content_hash,
    folder_atomic,
    read_json,
    remove_leftovers,
    write_bytes_atomic,
    write_json_atomic,
)
from runs.progress import Progress
from students.spec import StudentSpec

__all__ = ["Distilled", "MiniScore", "distil", "evaluate", "mini_distil"]

SCHEMA = 1
DISTILLED_FILE = "distilled.json"
CHECKPOINT_STEPS = 100


@dataclass(frozen=True)
class Distilled:
    """A finished student. `validation_scores` are all by name, `validation_score` the one that counts; `divergence` is
    how far from the teacher it is on validation (`distill.kinds`), in nats for most tasks; `loss` the training's.

    Of `steps` steps it is kept as it was after `kept_step`, at its best on validation. `seconds` are those of the
    attempt that finished, without what an interrupted one had done.
    """

    folder: Path
    validation_score: float
    validation_scores: Mapping[str, float]
    divergence: float
    loss: float
    steps: int
    kept_step: int
    seconds: float


def _identity(
    spec: StudentSpec, teacher: Teacher, task: Task, recipe: Recipe, seed: int, extra: Extra, **asked: Any
) -> dict[str, Any]:
    earlier = earlier_model(recipe.initialization)
    # Where an earlier model lies decides nothing: its weights do.
    start = {"initialization": kind_of_start(recipe.initialization)}
    return {
        "schema": SCHEMA,
        "spec": spec.to_json(),
        "teacher": teacher.content_hash,
        "task": task.content_hash,
        "recipe": recipe.to_json() | start,
        "seed": seed,
        "extra": extra.content_hash,
        "start": None if earlier is None else weights_hash(earlier),
        **asked,
        **dict.fromkeys(learnt_as(task), True),
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
    wanted = KINDS[task.kind].head_for(task.label_names)
    if spec.head != wanted:
        raise UserError(
            f"the student's head is {spec.head.kind!r} with {spec.head.labels} labels, and the data asks for "
            f"{wanted.kind!r} with {wanted.labels}: give the student that head."
        )


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
    epochs: float | None = None,
    subset: float = 1.0,
    vocabulary: str = "auto",
    extra: Extra = NOTHING,
    checkpoint_steps: int = CHECKPOINT_STEPS,
) -> Distilled:
    """Teach a student of shape `spec` and leave it in `output` (save_pretrained, tokenizer, card, record).

    Goes on from a killed run's checkpoints, kept beside `output`; a finished student is not taught again. `steps` or
    `epochs` override the recipe's length, `subset` is the share of the train split that is seen; the `vocabulary`
    says which words are trained (`distill.vocabulary`), and `extra` is learnt from as well, which leaves no room for a
    `subset`. Raises `UserError` where `output` holds something else.
    """
    recipe = RECIPES[recipe] if isinstance(recipe, str) else recipe
    progress = progress or Progress(quiet=True)
    _check(spec, task)
    asked = {"steps": steps, "epochs": epochs, "subset": subset, "vocabulary": vocabulary}
    description = _identity(spec, teacher, task, recipe, seed, extra, **asked)
    identity = content_hash(description, 16)
    work = output.with_name(f".{output.name}.{identity}.training")
    stored = _stored(output, identity)
    remove_leftovers(output)
    if stored:
        shutil.rmtree(work, ignore_errors=True)
        return stored
    start = perf_counter()
    room, settings = classroom(teacher, task), recipe.optimization
    room.progress = progress
    lengths: dict[str, Any] = {"steps": steps, "epochs": epochs, "subset": subset, "extra": extra}
    with begun(room, spec, recipe, seed, vocabulary, work=work, **lengths) as run:
        lesson, renumber = run.lesson, run.renumber

        def judge() -> tuple[float, float]:
            answers = answer(lesson.student, renumber(room.validation), task.kind, mixed=True, prepare=room.masking)
            scores, divergence = room.judge(answers)
            return scores[task.metric], divergence

        curve = Curve(work, lesson.student, judge, settings.patience)
        train(
            lesson,
            run.batches,
            settings,
            work,
            label="distilling the student",
            progress=progress,
            checkpoint_steps=checkpoint_steps,
            seed=seed,
            curve=curve,
        )
    scores, divergence = room.judge(answer(lesson.student, room.validation, task.kind, prepare=room.masking))
    result: dict[str, Any] = {
        "validation_score": scores[task.metric],
        "validation_scores": dict(scores),
        "divergence": divergence,
        "loss": curve.loss,
        "steps": curve.points[-1].step,
        "kept_step": curve.best.step,
        "seconds": round(perf_counter() - start, 3),
    }
    answer_in_numbers(lesson.student, room.unit)
    with folder_atomic(output) as folder:
        lesson.student.cpu().save_pretrained(folder)
        room.tokenizer.save_pretrained(folder)
        write_bytes_atomic(folder / "README.md", model_card(spec, teacher, task, recipe, result).encode())
        write_json_atomic(folder / CURVE_FILE, curve.to_json())
        write_json_atomic(folder / DISTILLED_FILE, {"identity": identity, "settings": description, "result": result})
    shutil.rmtree(work, ignore_errors=True)
    return Distilled(folder=output, **result)
