"""A supernet's lesson: at each step some of its parts learn from the batch, with the supernet's own weights."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from torch import Tensor
from torch.nn import functional as F

from distill.forms import layers_of, widths_of
from distill.lesson import Lesson
from distill.matching import MATCHINGS, layer_pairs
from distill.objectives import OBJECTIVES, LayerObjective, Match
from distill.recipe import Term
from runs.registry import Registry
from students.leading import shared_part
from students.model import StudentPreTrainedModel
from students.spec import StudentSpec

Members = Callable[[int, np.random.Generator], Sequence[StudentSpec]]
"""A number and a generator → so many members of a space, drawn at random."""


@dataclass(frozen=True)
class Parts:
    """Which parts of a supernet there are: all of it, the smallest of them, and any others; `name` names them all."""

    name: str
    whole: StudentSpec
    smallest: StudentSpec
    members: Members


Sampling = Callable[[Parts, int, np.random.Generator], Sequence[StudentSpec]]

SAMPLINGS: Registry[Sampling] = Registry("sampling")
"""Name → a function of (parts, how many, generator) to those that learn in one step."""


@SAMPLINGS.register("uniform")
def uniform(parts: Parts, count: int, rng: np.random.Generator) -> Sequence[StudentSpec]:
    """Members at random, as AutoTinyBERT's code has it (docs/methods.md)."""
    return parts.members(count, rng)


@SAMPLINGS.register("sandwich")
def sandwich(parts: Parts, count: int, rng: np.random.Generator) -> Sequence[StudentSpec]:
    """The whole, the smallest, and others at random (universally slimmable networks, Yu and Huang 2019)."""
    ends = [parts.whole, parts.smallest][:count]
    return [*ends, *parts.members(count - len(ends), rng)] if count > len(ends) else ends


def depth_map(layers: int, whole: int) -> tuple[int, ...]:
    """The supernet's layer that each layer of a part is: evenly apart, as starts and matchings are."""
    return tuple(theirs[0] for _, theirs in MATCHINGS["uniform"](layers, whole))


class SupernetLesson(Lesson):
    """A lesson in which parts of the student learn in its place; which ones follows from seed and step alone.

    Projections are the whole's, of which a narrower part uses the leading columns.
    """

    def __init__(
        self,
        supernet: StudentPreTrainedModel,
        terms: Sequence[Term],
        teacher: Any | None,
        parts: Parts,
        *,
        sampling: str = "sandwich",
        count: int = 3,
        steps: int,
        seed: int = 0,
        kind: str = "classification",
    ) -> None:
        super().__init__(supernet, terms, teacher, seed, kind)
        self._parts, self._sampling, self._count = parts, SAMPLINGS[sampling], count
        self._steps, self._seed = steps, seed

    def _students(self, share_done: float) -> Sequence[Any]:
        step = round(share_done * self._steps)
        specs = self._sampling(self._parts, self._count, np.random.default_rng([self._seed, step]))
        whole = layers_of(self.student)
        return [shared_part(self.student, spec, depth_map(len(spec.layers), whole)) for spec in specs]

    def _looked_through(self) -> Sequence[Any]:
        """A part of every depth: together they look at all of the teacher that any part looks at."""
        whole, depth = self._parts.whole, layers_of(self.student)
        cut = [replace(whole, layers=whole.layers[:layers]) for layers in range(1, depth + 1)]
        return [shared_part(self.student, spec, depth_map(len(spec.layers), depth)) for spec in cut]

    def _matches(self, number: int, student: Any) -> list[Match]:
        if student is self.student:
            return super()._matches(number, student)
        term, teacher = self.terms[number], self._teacher[0]
        objective = OBJECTIVES[term.objective]
        assert isinstance(objective, LayerObjective)
        found = []
        for layer, others in layer_pairs(term.matching, layers_of(student), layers_of(teacher)):
            project = None
            if objective.projects is not None:
                there = widths_of(teacher, objective.projects)
                project = partial(self._project, number, sum(there[other + 1] for other in others))
            found.append(Match(layer, others, project))
        return found

    def _project(self, number: int, wanted: int, values: Tensor) -> Tensor:
        """Values of a part [..., width] by the leading columns of the whole's projection to the width `wanted`."""
        ours = next(mine for mine, theirs in self._widths[number] if theirs == wanted)
        projection = self.projection(number, ours, wanted)
        return F.linear(values, projection.weight[:, : values.shape[-1]], projection.bias)
