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
from distill.matching import layer_pairs
from distill.objectives import OBJECTIVES, LayerObjective, Match
from distill.recipe import Term
from distill.team import team
from runs.registry import Registry
from students.leading import shared_part
from students.model import StudentPreTrainedModel
from students.spec import StudentSpec
from students.supernet import depth_map, of_one_type, places_of

Members = Callable[[int, np.random.Generator], Sequence[StudentSpec]]
"""A number and a generator → so many members of a space, drawn at random."""


@dataclass(frozen=True)
class Parts:
    """Which parts of a supernet there are: the whole, the smallest of them, and any others; `name` names them all."""

    name: str
    supernet: StudentSpec
    smallest: StudentSpec
    members: Members

    @property
    def whole(self) -> StudentSpec:
        """All that the supernet has of the first of its types of layer, which is all of it where there is but one."""
        return of_one_type(self.supernet, 0)


Choice = Callable[[Parts, int, np.random.Generator], Sequence[StudentSpec]]


@dataclass(frozen=True)
class Sampling:
    """Which parts learn in a step: `choose` is a function of (parts, how many, generator) to them.

    With `apart`, each of several processes (`distill.team`) draws its own for its share of the batch; else all draw the
    same. With `in_place` all but the first learn the answers that the first gives, and not the teacher's.
    """

    choose: Choice
    apart: bool = False
    in_place: bool = False


SAMPLINGS: Registry[Sampling] = Registry("sampling")
"""Name → which parts learn in a step, as `nas.methods.Method.sampling` names it."""


def uniform(parts: Parts, count: int, rng: np.random.Generator) -> Sequence[StudentSpec]:
    """Members at random, as AutoTinyBERT's code has it (docs/methods.md)."""
    return parts.members(count, rng)


def sandwich(parts: Parts, count: int, rng: np.random.Generator) -> Sequence[StudentSpec]:
    """The whole, the smallest, and others at random (universally slimmable networks, Yu and Huang 2019)."""
    ends = [parts.whole, parts.smallest][:count]
    return [*ends, *parts.members(count - len(ends), rng)] if count > len(ends) else ends


SAMPLINGS.register("uniform")(Sampling(uniform))
SAMPLINGS.register("sandwich")(Sampling(sandwich))
# As universally slimmable networks do it: the whole learns from the teacher, and its parts from the whole.
SAMPLINGS.register("in-place")(Sampling(sandwich, in_place=True))
# What AutoTinyBERT's paper calls batch-wise (docs/methods.md); one process alone draws as `uniform` does.
SAMPLINGS.register("batch-wise")(Sampling(uniform, apart=True))


def part_of(supernet: StudentPreTrainedModel, spec: StudentSpec) -> StudentPreTrainedModel:
    """The part of that shape, which shares the supernet's weights."""
    places = places_of(supernet.config.spec_object)
    return shared_part(supernet, spec, depth_map(len(spec.layers), places))


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
        super().__init__(supernet, terms, teacher, seed, kind, matched=part_of(supernet, parts.whole))
        self._parts, self._sampling, self._count = parts, SAMPLINGS[sampling], count
        self._steps, self._seed = steps, seed

    def _students(self, share_done: float) -> Sequence[Any]:
        step = round(share_done * self._steps)
        worker = team().rank if self._sampling.apart else 0
        rng = np.random.default_rng([self._seed, step, worker] if worker else [self._seed, step])
        specs = self._sampling.choose(self._parts, self._count, rng)
        return [part_of(self.student, spec) for spec in specs]

    def _passed_on(self, first: Tensor, answers: Tensor) -> Tensor:
        return first if self._sampling.in_place else answers

    def _looked_through(self) -> Sequence[Any]:
        """A part of every depth: together they look at all of the teacher that any part looks at."""
        whole = self._parts.whole
        cut = [replace(whole, layers=whole.layers[:layers]) for layers in range(1, len(whole.layers) + 1)]
        return [part_of(self.student, spec) for spec in cut]

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
