"""Students that are held out of every fit: random ones of several kinds, and every named shape, each with workloads."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from devices.measurement import Cell
from devices.workload import Workload
from export.items import Item, item_key
from profiler.plan import longest_affordable
from profiler.population import (
    HEAD,
    POPULATIONS,
    POSITIONS,
    TOKEN_TYPES,
    VOCABULARY,
    Drawing,
    Population,
)
from profiler.workloads import WorkloadRange
from runs.registry import Registry
from students.shapes import SHAPES
from students.spec import StudentSpec, TransformerLayer

NAMED = "named"
NAMED_LENGTHS = (16, 64, 128, 256, 512)

MOST_FLOPS = 3e10
"""Of one pass: a student too large for the longest sequence is asked at shorter ones, named shapes at all."""


@dataclass(frozen=True)
class HeldOut:
    """A student, how it was drawn, and what it is timed in."""

    kind: str
    spec: StudentSpec
    workloads: tuple[Workload, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain numbers and names; `from_json` is the inverse."""
        workloads = [workload.to_json() for workload in self.workloads]
        return {"kind": self.kind, "spec": self.spec.to_json(), "workloads": workloads}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "HeldOut":
        """Read `to_json`'s form."""
        workloads = tuple(Workload(**workload) for workload in value["workloads"])
        return cls(value["kind"], StudentSpec.from_json(value["spec"]), workloads)


KINDS: Registry[Population] = Registry("kind of student")
SHARES = {"hybrid": 0.4, "homogeneous": 0.2, "kd-nas": 0.12, "outside": 0.14, "mixed": 0.14}
"""Kind → its part of the random students."""


def _alike(spec: StudentSpec) -> bool:
    return len(set(spec.layers)) == 1


def _hybrid(alike: bool) -> Population:
    """Members of `hybrid` whose layers are all alike, or are not."""

    def drawn(count: int, drawing: Drawing) -> Iterator[Item]:
        before = drawing.wanted
        only = replace(drawing, wanted=lambda spec: before(spec) and _alike(spec) == alike)
        return POPULATIONS["hybrid"](count, only)

    return drawn


KINDS.register("hybrid")(_hybrid(alike=False))
KINDS.register("homogeneous")(_hybrid(alike=True))
KINDS.register("kd-nas")(POPULATIONS["kd-nas"])
KINDS.register("mixed")(POPULATIONS["mixed"])

DEPTHS = (1, 2, 7, 8, 9, 10, 11, 12, 14)
WIDTHS, FFN = (48, 640), (64, 2560)
HEAD_WIDTHS = (16, 20, 32, 48, 64)


def _between(rng: np.random.Generator, ends: tuple[int, int], step: int) -> int:
    """A multiple of `step` between two others, evenly in ratio."""
    low, high = ends
    drawn: float = low * (high / low) ** float(rng.random())
    return min(max(round(drawn / step) * step, low), high)


def _layer(rng: np.random.Generator, hidden: int) -> TransformerLayer:
    head_width = HEAD_WIDTHS[int(rng.integers(len(HEAD_WIDTHS)))]
    heads = int(rng.integers(1, max(hidden // head_width, 1) + 1))
    return TransformerLayer(heads, heads * head_width, _between(rng, FFN, 4))


@KINDS.register("outside")
def outside(count: int, drawing: Drawing) -> Iterator[Item]:
    """Deeper, narrower and wider than what a profile learns from, in widths that are multiples of 4 alone."""
    rng, found = drawing.rng(), 0
    while found < count:
        depth, hidden = DEPTHS[int(rng.integers(len(DEPTHS)))], _between(rng, WIDTHS, 4)
        layers = [_layer(rng, hidden) for _ in range(depth)]
        chosen = tuple(layers if rng.random() < 0.5 else layers[:1] * depth)
        spec = StudentSpec(hidden, hidden, chosen, drawing.vocabulary, drawing.positions, TOKEN_TYPES, HEAD)
        if drawing.wanted(spec):
            found += 1
            yield spec


def _one_of(rng: np.random.Generator, choices: Sequence[int]) -> int:
    return choices[int(rng.integers(len(choices)))]


def _workloads(rng: np.random.Generator, spec: StudentSpec, number: int, among: WorkloadRange) -> Iterator[Workload]:
    """One in the first precision; in each of the others one for every second student."""
    for place, precision in enumerate(among.precisions):
        if place == 0 or number % 2 == 0:
            batch, threads = _one_of(rng, among.batch_sizes), _one_of(rng, among.threads)
            longest = longest_affordable(spec, batch, among, MOST_FLOPS) or among.shortest
            yield Workload(batch, among.length_at(float(rng.random()), longest), threads, precision)


def named_shapes(among: WorkloadRange) -> Iterator[HeldOut]:
    """Every published shape once, whatever its names: at each length, with the threads in turn, in each precision."""
    for number, spec in enumerate(dict.fromkeys(same_shape(SHAPES[name]) for name in SHAPES)):
        workloads = [
            Workload(among.batch_sizes[0], length, among.threads[(number + place) % len(among.threads)], precision)
            for place, length in enumerate(NAMED_LENGTHS)
            for precision in among.precisions
        ]
        yield HeldOut(NAMED, spec, tuple(workloads))


def same_shape(spec: StudentSpec) -> StudentSpec:
    """The student with one vocabulary and one number of positions, neither of which takes time."""
    return replace(spec, vocabulary_size=VOCABULARY, maximum_positions=POSITIONS)


def shape_name(spec: StudentSpec) -> str:
    """The names that a spec was published under, empty where it was not."""
    return ", ".join(name for name in SHAPES if same_shape(SHAPES[name]) == same_shape(spec))


def held_out_students(count: int, seed: int, among: WorkloadRange) -> list[HeldOut]:
    """`count` different random students in their shares, and the named shapes, in random order.

    Equal arguments give equal students; any beginning of the list is a fair sample of the whole.
    """
    everyone = list(named_shapes(among))
    seen = {one.spec for one in everyone}
    ends = np.round(np.cumsum([SHARES[kind] for kind in SHARES]) * count).astype(int)
    for number, (kind, amount) in enumerate(zip(SHARES, np.diff(ends, prepend=0), strict=True)):
        drawing = Drawing((seed, 5, number), VOCABULARY, POSITIONS, lambda spec: spec not in seen)
        rng = np.random.default_rng([seed, 6, number])
        for place, spec in enumerate(KINDS[kind](int(amount), drawing)):
            assert isinstance(spec, StudentSpec)
            seen.add(spec)
            everyone.append(HeldOut(kind, spec, tuple(_workloads(rng, spec, place, among))))
    return [everyone[place] for place in np.random.default_rng([seed, 7]).permutation(len(everyone))]


def cells_of(students: Sequence[HeldOut]) -> tuple[dict[str, Item], list[Cell]]:
    """Items by key, and what is timed of them."""
    keyed = {item_key(one.spec): one for one in students}
    items: dict[str, Item] = {key: one.spec for key, one in keyed.items()}
    return items, [Cell(key, workload) for key, one in keyed.items() for workload in one.workloads]
