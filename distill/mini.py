"""Mini-distillation: some dozens of steps, or none, that rank a candidate by its divergence from the teacher."""

from dataclasses import dataclass
from math import nan
from time import perf_counter
from typing import Any

import numpy as np
import torch

from distill.batches import Encoded
from distill.brief import train_briefly
from distill.classroom import Classroom, classroom
from distill.course import begun
from distill.evaluation import Logits, answer
from distill.examples import Task
from distill.lesson import needs_answers
from distill.numerics import Diverged, training_device
from distill.recipe import Recipe
from distill.recipe_file import RECIPES
from distill.subset import left_out
from distill.teachers import Teacher
from runs.progress import Progress
from students.spec import StudentSpec

JUDGED = 0.5
"""Examples that a student is judged on for each that it learnt from, at most: an answer costs a third of a step."""


@dataclass(frozen=True)
class MiniScore:
    """`kl`: divergence from the teacher (`distill.kinds`), a quieter score than `validation_score`; on validation, and
    on texts of the train split that a subset leaves out as far as they are cheap beside what was learnt.

    `loss` is the recipe's training loss at the end of the steps. All three are NaN where training left the numbers.
    """

    loss: float
    kl: float
    validation_score: float
    steps: int
    seconds: float


def ask_beforehand(teacher: Teacher, task: Task, recipe: Recipe, progress: Progress) -> None:
    """Ask the teacher now, for all to see, what the first mini-distillation would have to ask in silence."""
    room = classroom(teacher, task)
    before, room.progress = room.progress, progress
    try:
        if any(map(needs_answers, recipe.terms)):
            _ = room.train_logits
        room.ask_teacher()
    finally:
        room.progress = before


def mini_distil(
    spec: StudentSpec,
    teacher: Teacher,
    task: Task,
    recipe: Recipe | str,
    *,
    steps: int,
    subset: float = 1.0,
    seed: int = 0,
    thoroughly: bool = True,
) -> MiniScore:
    """Teach a student for `steps` steps of the recipe on a subset of the train split; nothing is written for it.

    The schedule runs to its end within the steps. The student is judged on validation and, `thoroughly`, on `unseen`
    texts as well. Tokens, the teacher's answers and its importance are shared by all
    candidates of one process and kept in the teacher's folder.
    """
    recipe = RECIPES[recipe] if isinstance(recipe, str) else recipe
    start = perf_counter()
    room = classroom(teacher, task)
    with begun(room, spec, recipe, seed, steps=steps, subset=subset) as run:
        lesson = run.lesson
        # Every candidate has the same words hidden.
        lesson.remembered = room.remembered
        try:
            loss = train_briefly(lesson, run.batches, recipe.optimization)
        except Diverged:
            # One candidate that cannot be taught is no reason to end a search.
            return MiniScore(nan, nan, nan, steps, round(perf_counter() - start, 3))
    beside = unseen(room, subset, seed, steps * recipe.optimization.examples_per_step) if thoroughly else None
    return judged(room, lesson.student, start, steps, loss, beside)


@dataclass(frozen=True, eq=False)
class Unseen:
    """Texts that a student has not learnt from, and the teacher's answers to them."""

    texts: Encoded
    logits: Logits


def unseen(room: Classroom, subset: float, seed: int, learnt: int) -> Unseen | None:
    """Texts of the train split that a subset leaves out, to be judged on beside the validation split.

    As many as make up `JUDGED` of the examples that were `learnt` from, validation included; None where that has so
    many itself, or the teacher's answers are not stored by text. What a few hundred texts say of two students that
    differ little is mostly chance.
    """
    chosen = left_out(len(room.train), subset, seed, round(JUDGED * learnt) - len(room.validation))
    if not len(chosen) or room.kind.per_token:
        return None
    logits = room.train_logits
    return None if logits is None else Unseen(room.train.take(chosen), np.asarray(logits)[chosen])


def untaught(spec: StudentSpec, teacher: Teacher, task: Task, recipe: Recipe, seed: int = 0) -> MiniScore:
    """What a student is worth at the recipe's start, before any step."""
    start = perf_counter()
    room = classroom(teacher, task)
    student = room.start(spec, recipe, seed)
    torch.nn.Module.to(student, training_device())
    return judged(room, student, start)


def judged(
    room: Classroom,
    student: Any,
    start: float,
    steps: int = 0,
    loss: float | None = None,
    beside: Unseen | None = None,
) -> MiniScore:
    """The score of a student that learnt for some steps since `start`; without a loss, its divergence is that."""
    score, divergence = room.judge_candidate(student)
    if beside is not None:
        more = answer(student, beside.texts, room.task.kind, mixed=True)
        parts = len(room.validation), len(beside.texts)
        both = divergence, room.kind.divergence(more, beside.logits, beside.texts)
        divergence = float(np.average(both, weights=parts))
    seconds = round(perf_counter() - start, 3)
    return MiniScore(divergence if loss is None else loss, divergence, score, steps, seconds)
