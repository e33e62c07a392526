"""What a search prepares once for all its budgets, before any candidate is tried: nothing, or a supernet."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from distill.supernet import teach_supernet
from distill.supernet_lesson import Parts
from nas.context import Context
from nas.members import Members
from runs.registry import Registry
from students.space_file import choices_hash
from students.spec import StudentSpec

Preparation = Callable[[Context], dict[str, Any]]

PREPARATIONS: Registry[Preparation] = Registry("preparation")
"""Name → a function of a search's context to what is to be said of it."""


@PREPARATIONS.register("none")
def nothing(context: Context) -> dict[str, Any]:
    """Every candidate is taught for itself."""
    return {}


@PREPARATIONS.register("supernet")
def supernet(context: Context) -> dict[str, Any]:
    """One model of which every member of the space is a part, taught part by part with the method's recipe."""
    steps = context.effort.supernet_steps
    parts = parts_of_space(replace(context.ground.members, head=context.ground.head))
    assert context.supernet is not None
    teach_supernet(
        context.teacher,
        context.ground.task,
        parts,
        context.method_recipe,
        context.supernet,
        steps=steps,
        sampling=context.method.sampling,
        seed=context.settings.seed,
        progress=context.progress,
    )
    return {"steps": steps, "parameters": parts.supernet.parameters()}


def parts_of_space(members: Members) -> Parts:
    """The members of a space as parts of one supernet."""
    smallest = members.specs(members.space.enumerate_extremes()[:1])[0]
    name = f"{members.space.name} {choices_hash(members.space.choices)}"
    return Parts(name, members.supernet, smallest, partial(_drawn, members))


def _drawn(members: Members, count: int, rng: np.random.Generator) -> list[StudentSpec]:
    return members.specs(members.space.sample(count, rng))
