"""What a run learns from and in which order: texts, copies of them, the teacher's answers, each step's examples."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from distill.augmentation import Replacement
from distill.batches import Encoded, plan_batches, steps_per_epoch
from distill.classroom import Classroom
from distill.evaluation import Logits
from distill.extra import NOTHING, TRANSFERABLE, Extra
from distill.recipe import Recipe
from distill.subset import draw_subset


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
    encoded, logits = room.material(extra, seed)
    seen: Any = np.arange(len(encoded)) if extra else draw_subset(len(encoded), subset, seed)
    parts = plan_batches(encoded.lengths[seen], settings.examples_per_step, steps, seed)
    return Course(encoded, logits, [seen[part] for part in parts])
