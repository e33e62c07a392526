"""Mini-distillation: some dozens of steps that rank a candidate, scored by its divergence from the teacher."""

from dataclasses import dataclass
from time import perf_counter

import numpy as np

from distill.batches import PlannedBatches, plan_batches
from distill.brief import train_briefly
from distill.classroom import classroom
from distill.evaluation import accuracy, answer, divergence
from distill.examples import Task
from distill.lesson import Lesson, needs_teacher_inside
from distill.recipe import RECIPES, Recipe
from distill.subset import draw_subset
from distill.teachers import Teacher
from students.spec import StudentSpec


@dataclass(frozen=True)
class MiniScore:
    """`kl`: mean KL(teacher ‖ student) on validation in nats, a quieter score than accuracy (`validation_score`).

    `loss` is the recipe's training loss at the end of the steps.
    """

    loss: float
    kl: float
    validation_score: float
    steps: int
    seconds: float


def mini_distil(
    spec: StudentSpec,
    teacher: Teacher,
    task: Task,
    recipe: Recipe | str,
    *,
    steps: int,
    subset: float = 1.0,
    seed: int = 0,
) -> MiniScore:
    """Teach a student for `steps` steps of the recipe on a subset of the train split; nothing is written for it.

    The schedule runs to its end within the steps. Tokens, the teacher's answers and its importance are shared by all
    candidates of one process and kept in the teacher's folder.
    """
    recipe = RECIPES[recipe] if isinstance(recipe, str) else recipe
    start = perf_counter()
    room = classroom(teacher, task)
    settings = recipe.optimization
    seen = draw_subset(len(room.train), subset, seed)
    plan = [seen[part] for part in plan_batches(room.train.lengths[seen], settings.batch_size, steps, seed)]
    inside = room.model if needs_teacher_inside(recipe.terms) else None
    lesson = Lesson(room.start(spec, recipe, seed), recipe.terms, inside, seed)
    loss = train_briefly(lesson, PlannedBatches(room.train, plan, room.train_logits), settings)
    logits = answer(lesson.student, room.validation, mixed=True)
    kl = divergence(logits, np.asarray(room.validation_logits))
    score = accuracy(logits, room.validation.labels)
    return MiniScore(loss, kl, score, steps, round(perf_counter() - start, 3))
