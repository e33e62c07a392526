"""What a profile measures: which models on which workloads, in what order, and the fresh students of the check."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from devices.measurement import Cell
from devices.stopwatch import Policy
from devices.workload import Precision, Workload
from export.items import Item, Stack, item_blocks, item_key
from profiler.layer_draws import Generator
from profiler.population import (
    POPULATIONS,
    POSITIONS,
    SMALL_VOCABULARY,
    VOCABULARY,
    WRITING,
    Drawing,
    members,
    uniform_shape,
)
from profiler.workloads import WorkloadRange
from runs.registry import Registry
from students.shapes import SHAPES
from students.spec import LayerBlock, StudentSpec, TransformerLayer

PROCESSES = 3

REFERENCE = Stack(LayerBlock(256, TransformerLayer(4, 256, 1024)), 2)
"""Runs in every round: a few milliseconds of the same kind of work as everything else."""

STACK_CELLS, STUDENT_CELLS, CHECK_CELLS = 2, 3, 2
"""Workloads that a stack, a whole student and a fresh one are measured on, where there is more than one."""


@dataclass(frozen=True)
class Effort:
    """How much is measured, and how long it may take.

    `amounts` is how many there are of each population. A model is measured at lengths that take at most `most_flops`;
    the `anchors`, the usual teachers and the far corners of the spaces, at lengths of up to `anchor_flops`. After a
    first share of the plan, `rounds` rounds add what the predictor is least sure of, as long as there is time.
    """

    amounts: Mapping[str, int]
    check_students: int
    most_flops: float
    anchor_flops: float
    minutes: float
    policy: Policy
    rounds: int = 0
    processes: int = PROCESSES
    anchors: tuple[str, ...] = ("bert-tiny", "minilm-l6-h384", "bert-base")
    writers: int = 0
    """Causal students, which alone are measured where there are tokens in their cache."""

    def amounts_for(self, among: WorkloadRange) -> Mapping[str, int]:
        """How many there are of each population for these workloads."""
        return {"writers": self.writers} if among.earlier_tokens else self.amounts


ALL_NAMED = 100

EFFORTS: Registry[Effort] = Registry("effort")
EFFORTS.register("quick")(
    Effort(
        {
            "hybrid": 120,
            "kd-nas": 5,
            "outside": 14,
            "mixed": 14,
            "heads": 6,
            "named": ALL_NAMED,
            "narrow-stacks": 40,
            "wide-stacks": 5,
            "layer-stacks": 6,
            "single-blocks": 8,
        },
        check_students=20,
        most_flops=4e9,
        anchor_flops=2.5e10,
        minutes=3.0,
        policy=Policy(rounds=2, warmup_runs=1, settle_runs=2, sample_ms=10.0, max_runs=30, visits=2, retakes=2),
        writers=320,
    )
)
EFFORTS.register("standard")(
    Effort(
        {
            "hybrid": 220,
            "kd-nas": 24,
            "outside": 48,
            "mixed": 40,
            "heads": 12,
            "named": ALL_NAMED,
            "narrow-stacks": 56,
            "wide-stacks": 12,
            "layer-stacks": 18,
            "single-blocks": 16,
        },
        check_students=40,
        most_flops=2.4e10,
        anchor_flops=6e10,
        minutes=11.6,
        policy=Policy(
            rounds=2,
            settle_runs=3,
            sample_ms=10.0,
            max_runs=40,
            extra_rounds=2,
            tolerance_percent=2.5,
            visits=2,
            retakes=2,
        ),
        rounds=3,
        writers=600,
    )
)
EFFORTS.register("thorough")(
    Effort(
        {
            "hybrid": 800,
            "kd-nas": 80,
            "outside": 160,
            "mixed": 120,
            "heads": 36,
            "named": ALL_NAMED,
            "narrow-stacks": 200,
            "wide-stacks": 40,
            "layer-stacks": 60,
            "single-blocks": 24,
        },
        check_students=120,
        most_flops=5e10,
        anchor_flops=1.2e11,
        minutes=60.0,
        policy=Policy(
            rounds=5,
            settle_runs=3,
            sample_ms=30.0,
            max_runs=90,
            extra_rounds=5,
            tolerance_percent=0.7,
            visits=2,
            retakes=2,
        ),
        rounds=6,
        writers=1500,
    )
)


@dataclass(frozen=True)
class Plan:
    """Items by key: those the predictor learns from, and fresh whole students that stay outside every fit.

    Any beginning of `cells` is a fair sample of all, except that the essential ones come first. The reference is an
    item of the fit that has no cell, since it runs in every round.
    """

    fit: dict[str, Item]
    check: dict[str, Item]
    cells: tuple[Cell, ...]
    check_cells: tuple[Cell, ...]
    reference: str
    policy: Policy
    processes: int = PROCESSES

    @property
    def visits(self) -> int:
        """How many processes time each model at least."""
        return self.policy.visits_among(self.processes)

    @property
    def items(self) -> dict[str, Item]:
        """Everything to be measured."""
        return {**self.fit, **self.check}


def item_flops(item: Item, batch_size: int, sequence_length: int) -> int:
    """FLOPs of one pass through all of an item's blocks."""
    return sum(block.flops(batch_size, sequence_length) for block in item_blocks(item) or ())


def longest_affordable(item: Item, batch_size: int, among: WorkloadRange, most_flops: float) -> int:
    """The greatest length of the range at which one pass takes at most `most_flops`; 0 where none does."""
    low, high = among.shortest, among.longest
    if item_flops(item, batch_size, high) <= most_flops:
        return high
    if item_flops(item, batch_size, low) > most_flops:
        return 0
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if item_flops(item, batch_size, middle) <= most_flops else (low, middle)
    return low


@dataclass
class Allotment:
    """Gives items their workloads: settings in turn from a shuffled deck, lengths spread over what can be afforded."""

    among: WorkloadRange
    most_flops: float
    rng: Generator
    _deck: list[tuple[int, int, Precision]] = field(default_factory=list)

    def _setting(self) -> tuple[int, int, Precision]:
        if not self._deck:
            settings = self.among.settings()
            self._deck = [settings[place] for place in self.rng.permutation(len(settings))]
        return self._deck.pop()

    def workloads(self, item: Item, count: int) -> list[Workload]:
        """At most `count` different workloads, fewer where the range has fewer or the item is too large."""
        if self.among.only is not None:
            count = 1
        found = []
        for part in self.rng.permutation(count):
            setting = self._setting()
            longest = longest_affordable(item, setting[0], self.among, self.most_flops)
            share = (part + self.rng.random()) / count
            if longest:
                found.append(self.among.workload(setting, self.among.length_at(share, longest)))
        return list(dict.fromkeys(found))

    def cells(self, item: Item, count: int | None = None) -> list[Cell]:
        """At most `count` cells of the item, or as many as its kind gets."""
        usual = STUDENT_CELLS if isinstance(item, StudentSpec) else STACK_CELLS
        return [Cell(item_key(item), workload) for workload in self.workloads(item, count or usual)]


def essential_cells(items: Iterable[Item], among: WorkloadRange, most_flops: float) -> Iterator[Cell]:
    """Each item in every setting, at the shortest length and at the longest that can be afforded."""
    for item in items:
        for setting in among.settings():
            longest = longest_affordable(item, setting[0], among, most_flops)
            if longest:
                for length in sorted({among.shortest, among.length_at(1.0, longest)}):
                    yield Cell(item_key(item), among.workload(setting, length))


def positions_for(among: WorkloadRange) -> int:
    """Positions that every student has: BERT's, or as many as the longest sequence needs."""
    return max(POSITIONS, among.longest + among.earlier_tokens)


def affordable(among: WorkloadRange, most_flops: float) -> Callable[[StudentSpec], bool]:
    """Whether a student can be measured at the shortest length at least."""
    batch, length = among.batch_sizes[0], among.shortest
    return lambda spec: spec.flops(batch, length) <= most_flops


def draw_items(effort: Effort, among: WorkloadRange, seed: tuple[int, ...]) -> list[Item]:
    """The populations of an effort, each in its amount."""
    wanted = affordable(among, effort.most_flops)
    drawn: list[Item] = []
    for number, (kind, amount) in enumerate(effort.amounts_for(among).items()):
        drawing = Drawing((*seed, number), positions=positions_for(among), wanted=wanted)
        drawn += POPULATIONS[kind](amount, drawing)
    return drawn


def plan_profile(effort: str, workloads: WorkloadRange, seed: int = 0) -> Plan:
    """The plan of an effort; the same for the same arguments. A `UserError` names the known efforts."""
    amount = EFFORTS[effort]
    positions = positions_for(workloads)
    anchors = [uniform_shape(SHAPES[name], positions) for name in amount.anchors]
    if workloads.earlier_tokens:
        anchors = [replace(spec, head=WRITING) for spec in anchors]
    essential = list(essential_cells(anchors, workloads, amount.anchor_flops))
    drawn = draw_items(amount, workloads, (seed, 2))
    rng = np.random.default_rng([seed, 1])
    allotment = Allotment(workloads, amount.most_flops, rng)
    ordered = [drawn[place] for place in rng.permutation(len(drawn))]
    cells = list(dict.fromkeys([*essential, *(cell for item in ordered for cell in allotment.cells(item))]))
    measured = {cell.key for cell in cells}
    known = {item_key(item): item for item in [REFERENCE, *anchors, *drawn]}
    reference = item_key(REFERENCE)
    fit = {key: item for key, item in known.items() if key in measured or key == reference}
    check = fresh_students(amount.check_students, fit, workloads, seed, amount.most_flops)
    fresh = Allotment(workloads, amount.most_flops, np.random.default_rng([seed, 4]))
    check_cells = tuple(cell for item in check.values() for cell in fresh.cells(item, CHECK_CELLS))
    return Plan(fit, check, tuple(cells), check_cells, reference, amount.policy, amount.processes)


def fresh_students(
    count: int, fit: Mapping[str, Item], among: WorkloadRange, seed: int, most_flops: float
) -> dict[str, Item]:
    """Random members of `hybrid` with the full vocabulary, none of which is in the fit, by key; with tokens in a cache
    students that write on."""

    def fresh(spec: StudentSpec) -> bool:
        return item_key(replace(spec, vocabulary_size=SMALL_VOCABULARY)) not in fit and cheap(spec)

    cheap = affordable(among, most_flops)
    drawing = Drawing((seed, 3), VOCABULARY, positions_for(among), fresh)
    if among.earlier_tokens:
        return {item_key(item): item for item in POPULATIONS["writers"](count, drawing)}
    return {item_key(item): item for item in members("hybrid", count, drawing)}
