"""What a run learns from and in which order: texts, copies of them, the teacher's answers, each step's examples."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from distill.augmentation import Replacement
from distill.batches import Encoded, PlannedBatches, plan_batches, steps_per_epoch
from distill.classroom import Classroom
from distill.evaluation import Logits
from distill.extra import NOTHING, TRANSFERABLE, Extra
from distill.lesson import Lesson, needs_answers
from distill.recipe import Recipe
from distill.subset import draw_subset
from distill.vocabulary import Renumber, trained_words
from students.spec import StudentSpec

LEAST_READINGS = 1.05
"""How many answers are read for each that is asked for to be stored, at least: where the teacher is asked at each step
instead, that is once for each reading. Answers to the train split are stored for most runs, and then not asked for."""


@dataclass(frozen=True, eq=False)
class Course:
    """All texts, the teacher's answers to them where they are stored, and which of them each step has."""

    encoded: Encoded
    logits: Logits | None
    plan: list[npt.NDArray[np.int64]]


def course(
    room: Classroom,
    recipe: Recipe,
    seed: int,
    *,
    steps: int | None = None,
    epochs: float | None = None,
    subset: float = 1.0,
    extra: Extra = NOTHING,
) -> Course:
    """The course of one run under a recipe; `steps` or `epochs` override its length, `subset` is the share it sees.

    Copies with words replaced make no epoch longer: a text is one example, whatever it looks like. The recipe's own
    copies are left away where a run comes to no text so often, where it sees a subset, and where `extra` has its own.
    """
    settings = recipe.optimization
    texts = len(room.train) + len(extra.texts)
    some = texts if extra else max(1, round(texts * subset))
    if epochs is not None:
        steps = max(1, round(epochs * steps_per_epoch(some, settings.examples_per_step)))
    steps = steps or settings.steps(some, len(room.task.label_names))
    copies = min(recipe.augment, steps * settings.examples_per_step // some - 1)
    if copies > 0 and subset == 1 and extra.replacement is None and room.task.kind in TRANSFERABLE:
        extra = replace(extra, replacement=Replacement(copies))
    encoded = room.material(extra, seed)
    seen: Any = np.arange(len(encoded)) if extra else draw_subset(len(encoded), subset, seed)
    parts = plan_batches(encoded.lengths[seen], settings.examples_per_step, steps, seed)
    logits = _answers(room, recipe, encoded, readings=steps * settings.examples_per_step)
    return Course(encoded, logits, [seen[part] for part in parts])


def _answers(room: Classroom, recipe: Recipe, encoded: Encoded, readings: int) -> Logits | None:
    """The teacher's stored answers; None where nobody wants them, or too few would be read."""
    if not any(map(needs_answers, recipe.terms)):
        return None
    if encoded is room.train:
        return room.train_logits
    enough = readings > LEAST_READINGS * (len(encoded) - len(room.train))
    return room.training_logits(encoded, f"train-{encoded.texts_hash}") if enough else None


@dataclass(frozen=True, eq=False)
class Begun:
    """A run that can be trained: what is trained on what, and how a split is told to models that lack some words."""

    lesson: Lesson
    batches: PlannedBatches
    renumber: Renumber


@contextmanager
def begun(
    room: Classroom,
    spec: StudentSpec,
    recipe: Recipe,
    seed: int,
    vocabulary: str = "auto",
    *,
    steps: int | None = None,
    epochs: float | None = None,
    subset: float = 1.0,
    extra: Extra = NOTHING,
    work: Path | None = None,
) -> Iterator[Begun]:
    """A student of `spec` at its start, with its course (`course`); while it lasts models have the words it names.

    Whatever is to be asked of the teacher beforehand is asked here, before anybody's words are left out. A run that can
    be killed and go on has a folder `work`.
    """
    taken = course(room, recipe, seed, steps=steps, epochs=epochs, subset=subset, extra=extra)
    room.ask_teacher()
    lesson = room.lesson(room.start(spec, recipe, seed), recipe, seed, taken.logits)
    batches = room.planned(lesson, taken.encoded, taken.logits, taken.plan, seed, work)
    models = [lesson.student, *lesson.teachers]
    with trained_words(vocabulary, models, [taken.encoded, room.validation]) as renumber:
        yield Begun(lesson, batches.over(renumber(taken.encoded)), renumber)
