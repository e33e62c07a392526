"""What a profile measures: stacks of blocks spread over the space, whole students, and fresh ones for the check."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from scipy.stats import qmc

from devices.stopwatch import Policy
from devices.workload import Workload
from export.items import Item, Stack, item_key
from runs.registry import Registry
from students.shapes import SHAPES
from students.space import space
from students.spec import (
    Activation,
    EmbeddingBlock,
    Head,
    HeadBlock,
    LayerBlock,
    StudentSpec,
    TransformerLayer,
    uniform_spec,
)

Choice = TypeVar("Choice")

VOCABULARY = 30522
SMALL_VOCABULARY = 4096
"""Of the students that are learned from: only the rows that the tokens name are read, so a table of 4096 words takes as
long as one of 30522 and is made and loaded in an eighth of the time. Those of the check have it whole."""

POSITIONS = 512
TOKEN_TYPES = 2
HEAD = Head("classification", 2)

HIDDEN = (96, 768)
"""Hidden widths in channels from the narrowest student to BERT-base."""

STACK_DEPTH = 4
PROCESSES = 3

REFERENCE = Stack(LayerBlock(256, TransformerLayer(4, 256, 1024)), 2)
"""Runs in every round: a few milliseconds of the same kind of work as everything else."""


@dataclass(frozen=True)
class Effort:
    """How many of each kind are measured, and how. Named shapes and wide students of more than `most_flops` (of one
    pass at the first workload's length) are left to extrapolation, except the named `anchors`."""

    narrow_stacks: int
    wide_stacks: int
    single_widths: int
    students: int
    wide_students: int
    check_students: int
    most_flops: float
    policy: Policy
    anchors: tuple[str, ...] = ("minilm-l6-h384", "bert-base")
    """The usual teachers, and the far corner of the space `kd-nas`."""


EFFORTS: Registry[Effort] = Registry("effort")
EFFORTS.register("quick")(Effort(34, 5, 5, 80, 3, 20, 4e9, Policy(rounds=3, warmup_runs=1, sample_ms=8.0, max_runs=6)))
EFFORTS.register("standard")(Effort(96, 16, 8, 240, 12, 60, 1e10, Policy(rounds=5, sample_ms=20.0)))
EFFORTS.register("thorough")(Effort(256, 48, 12, 800, 40, 120, 5e10, Policy(rounds=9, sample_ms=40.0)))


@dataclass(frozen=True)
class Plan:
    """Items by key: those the predictor learns from, and fresh whole students that stay outside every fit."""

    fit: dict[str, Item]
    check: dict[str, Item]
    reference: str
    policy: Policy

    @property
    def items(self) -> dict[str, Item]:
        """Everything to be measured."""
        return {**self.fit, **self.check}


def plan_profile(effort: str, workloads: Sequence[Workload], seed: int = 0) -> Plan:
    """The plan of an effort; the same for the same arguments. A `UserError` names the known efforts."""
    amount = EFFORTS[effort]
    positions = max(POSITIONS, *(workload.sequence_length for workload in workloads))
    first = workloads[0]

    def affordable(spec: StudentSpec) -> bool:
        return spec.flops(1, first.sequence_length) <= amount.most_flops

    fit: list[Item] = [REFERENCE]
    fit += stacks(amount.narrow_stacks, NARROW, seed)
    fit += stacks(amount.wide_stacks, WIDE, seed + 1)
    fit += single_blocks(amount.single_widths, positions)
    fit += named_students(amount.anchors, positions, affordable)
    fit += random_students("kd-nas", amount.wide_students, SMALL_VOCABULARY, positions, [seed, 1], affordable)
    fit += random_students("hybrid", amount.students, SMALL_VOCABULARY, positions, [seed, 2])
    fitted = {item_key(item): item for item in fit}

    def fresh(spec: StudentSpec) -> bool:
        return item_key(replace(spec, vocabulary_size=SMALL_VOCABULARY)) not in fitted

    check = random_students("hybrid", amount.check_students, VOCABULARY, positions, [seed, 3], fresh)
    return Plan(fitted, {item_key(item): item for item in check}, item_key(REFERENCE), amount.policy)


@dataclass(frozen=True)
class Range:
    """Layers a stack is drawn from: hidden and feed-forward widths between two ends, and numbers of heads, head widths
    and activations of which one is taken; heads are dropped until all together fit `widest_qkv` channels."""

    hidden: tuple[int, int]
    ffn: tuple[int, int]
    heads: tuple[int, ...]
    head_widths: tuple[int, ...]
    widest_qkv: int
    activations: tuple[Activation, ...]


NARROW = Range((96, 384), (96, 1536), tuple(range(1, 13)), (16, 32, 32, 64), 384, ("gelu", "gelu", "relu", "silu"))
WIDE = Range((384, 768), (384, 3072), (3, 4, 6, 8, 12), (32, 64, 64, 128), 768, ("gelu", "relu", "silu"))
"""The layers of the spaces `hybrid` and `kd-nas`, and what lies between their choices."""


def stacks(count: int, among: Range, seed: int) -> Iterator[Item]:
    """Stacks that fill the range evenly (Halton points), since a random handful leaves holes.

    Every fourth is the last layer of a student that answers from its first token.
    """
    for number, (hidden_at, ffn_at, heads_at, width_at, activation_at) in enumerate(
        qmc.Halton(5, rng=seed).random(count)
    ):
        head_width = _one_of(among.head_widths, width_at)
        heads = min(_one_of(among.heads, heads_at), among.widest_qkv // head_width)
        ffn, activation = _between(among.ffn, ffn_at, 32), _one_of(among.activations, activation_at)
        layer = TransformerLayer(heads, heads * head_width, ffn, activation)
        first_only = number % 4 == 3
        yield Stack(
            LayerBlock(_between(among.hidden, hidden_at, 16), layer, first_only), 1 if first_only else STACK_DEPTH
        )


def single_blocks(count: int, positions: int) -> Iterator[Item]:
    """Embeddings (plain and factorised in turn) and heads, over all hidden widths."""
    for number, width in enumerate(np.geomspace(*HIDDEN, count)):
        hidden = _multiple(float(width), 32)
        embedding = hidden if number % 2 == 0 else max(hidden // 2, 64)
        yield Stack(EmbeddingBlock(embedding, hidden, VOCABULARY, positions, TOKEN_TYPES), 1)
        yield Stack(HeadBlock(hidden, HEAD.labels), 1)


def named_students(anchors: Sequence[str], positions: int, affordable: Callable[[StudentSpec], bool]) -> Iterator[Item]:
    """The anchors, the published shapes that can be afforded, and the two forms that no space draws: a factorised
    embedding, and no head."""

    def cheaply(spec: StudentSpec) -> StudentSpec:
        return replace(spec, vocabulary_size=SMALL_VOCABULARY, maximum_positions=positions)

    for name in SHAPES:
        if name in anchors or affordable(SHAPES[name]):
            yield cheaply(SHAPES[name])
    for layers, hidden, heads in ((3, 192, 6), (4, 312, 12)):
        factorised = cheaply(uniform_spec(layers, hidden, heads, 4 * hidden, embedding_width=128))
        yield factorised
        yield replace(factorised, embedding_width=hidden, head=Head("none", 1))


def random_students(
    space_name: str,
    count: int,
    vocabulary: int,
    positions: int,
    seed: list[int],
    wanted: Callable[[StudentSpec], bool] = lambda spec: True,
) -> Iterator[Item]:
    """`count` different random members of a space that are wanted, fewer where a thousand tries find no more."""
    members, rng, seen = space(space_name), np.random.default_rng(seed), set[StudentSpec]()
    for _ in range(1000):
        codes = members.sample(max(count, 8), rng)
        for spec in members.decode(
            codes, vocabulary_size=vocabulary, maximum_positions=positions, token_types=TOKEN_TYPES, head=HEAD
        ):
            if len(seen) == count:
                return
            if spec not in seen and wanted(spec):
                seen.add(spec)
                yield spec


def _multiple(value: float, step: int) -> int:
    return max(step, round(value / step) * step)


def _between(ends: tuple[int, int], share: float, step: int) -> int:
    """A multiple of `step` at a share of the way between two ends, in ratio rather than in distance."""
    return _multiple(ends[0] * (ends[1] / ends[0]) ** share, step)


def _one_of(choices: Sequence[Choice], share: float) -> Choice:
    return choices[int(share * len(choices))]
