"""Which models a profile may measure, kind by kind: stacks of blocks, members of the spaces, and what lies beyond."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import get_args

import numpy as np
from scipy.stats import qmc

from export.items import Item, Stack
from profiler.layer_draws import LAYER_DRAWS, STEPS, Choice, Generator, at, draw_transformer, multiple, one_of
from runs.registry import Registry
from students.heads import CAUSAL_LAYERS, EXACT_LABELS, HeadKind
from students.shapes import SHAPES
from students.space import space
from students.spec import (
    LAYER_TYPES,
    Activation,
    EmbeddingBlock,
    Head,
    HeadBlock,
    Layer,
    LayerBlock,
    StudentSpec,
    TransformerLayer,
    uniform_spec,
)

VOCABULARY = 30522
SMALL_VOCABULARY = 4096
"""Of the students that are learned from: only the rows that the tokens name are read, so a table of 4096 words takes as
long as one of 30522 and is made and loaded in an eighth of the time. Those of the check have it whole."""

POSITIONS = 512
TOKEN_TYPES = 2
HEAD = Head("classification", 2)

WRITING = Head("causal-lm")

MOST_WORDS = 50_000
"""Of a causal student's vocabulary: all of its scores are made for every token, so that they count."""

HIDDEN = (96, 768)
"""Hidden widths in channels from the narrowest student to BERT-base."""

STACK_DEPTH = 4
TRIES = 1000
"""Draws after which a space is taken to have no more members that are wanted."""


@dataclass(frozen=True)
class Drawing:
    """What the students of a population share; `wanted` says which of them are kept."""

    seed: tuple[int, ...]
    vocabulary: int = SMALL_VOCABULARY
    positions: int = POSITIONS
    wanted: Callable[[StudentSpec], bool] = lambda spec: True

    def rng(self, *more: int) -> Generator:
        """The generator of this seed, or of one that is derived from it."""
        return np.random.default_rng([*self.seed, *more])


Population = Callable[[int, Drawing], Iterator[Item]]
POPULATIONS: Registry[Population] = Registry("population")
"""Kind → at most so many different items of it; equal arguments give equal items."""


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


def stacks(count: int, among: Range, rng: Generator) -> Iterator[Item]:
    """Stacks that fill the range evenly (Halton points), since a random handful leaves holes.

    Every fourth is the last layer of a student that answers from its first token.
    """

    def taken(choices: Sequence[Choice], share: float) -> Choice:
        return choices[int(share * len(choices))]

    for number, (hidden_at, ffn_at, heads_at, width_at, activation_at) in enumerate(
        qmc.Halton(5, rng=rng).random(count)
    ):
        head_width = taken(among.head_widths, width_at)
        heads = min(taken(among.heads, heads_at), among.widest_qkv // head_width)
        ffn, activation = at(among.ffn, ffn_at, 32), taken(among.activations, activation_at)
        layer = TransformerLayer(heads, heads * head_width, ffn, activation)
        first_only = number % 4 == 3
        yield Stack(LayerBlock(at(among.hidden, hidden_at, 16), layer, first_only), 1 if first_only else STACK_DEPTH)


POPULATIONS.register("narrow-stacks")(lambda count, drawing: stacks(count, NARROW, drawing.rng()))
POPULATIONS.register("wide-stacks")(lambda count, drawing: stacks(count, WIDE, drawing.rng()))


@POPULATIONS.register("layer-stacks")
def layer_stacks(count: int, drawing: Drawing) -> Iterator[Item]:
    """Stacks of the layer types beside transformers, in turn."""
    rng = drawing.rng()
    others = [name for name in LAYER_TYPES if name != TransformerLayer.type]
    for number in range(count):
        hidden = at((96, 512), rng.random(), 16)
        yield Stack(LayerBlock(hidden, LAYER_DRAWS[others[number % len(others)]](rng, hidden)), STACK_DEPTH)


@POPULATIONS.register("single-blocks")
def single_blocks(count: int, drawing: Drawing) -> Iterator[Item]:
    """Embeddings (plain and factorised in turn) and heads, over all hidden widths."""
    for number, width in enumerate(np.geomspace(*HIDDEN, max(count // 2, 1))):
        hidden = multiple(float(width), 32)
        embedding = hidden if number % 2 == 0 else max(hidden // 2, 64)
        yield Stack(EmbeddingBlock(embedding, hidden, VOCABULARY, drawing.positions, TOKEN_TYPES), 1)
        yield Stack(HeadBlock(hidden, HEAD.labels), 1)


def _kept(specs: Iterator[StudentSpec], count: int, drawing: Drawing) -> Iterator[Item]:
    """The first `count` different ones that are wanted, fewer where very many tries find no more."""
    seen = set[StudentSpec]()
    for _, spec in zip(range(TRIES * max(count, 8)), specs, strict=False):
        if len(seen) == count:
            return
        if spec not in seen and drawing.wanted(spec):
            seen.add(spec)
            yield spec


def is_check(item: Item) -> bool:
    """Whether a profile measures this for its check: none that it learns from and that has the same head has the whole
    vocabulary."""
    return isinstance(item, StudentSpec) and item.head in (HEAD, WRITING) and item.vocabulary_size == VOCABULARY


def uniform_shape(spec: StudentSpec, positions: int, vocabulary: int = SMALL_VOCABULARY) -> StudentSpec:
    """The spec with the vocabulary and positions that the others of its profile have."""
    return replace(spec, vocabulary_size=vocabulary, maximum_positions=positions)


@POPULATIONS.register("named")
def named_students(count: int, drawing: Drawing) -> Iterator[Item]:
    """Published shapes, and the two forms that no space draws: a factorised embedding, and no head."""

    def all_of_them() -> Iterator[StudentSpec]:
        yield from (SHAPES[name] for name in SHAPES)
        for layers, hidden, heads in ((3, 192, 6), (4, 312, 12)):
            factorised = uniform_spec(layers, hidden, heads, 4 * hidden, embedding_width=128)
            yield factorised
            yield replace(factorised, embedding_width=hidden, head=Head("none", 1))

    cheaply = (uniform_shape(spec, drawing.positions, drawing.vocabulary) for spec in all_of_them())
    yield from _kept(cheaply, count, drawing)


def members(name: str, count: int, drawing: Drawing) -> Iterator[Item]:
    """Random members of a space."""

    def drawn() -> Iterator[StudentSpec]:
        among, rng = space(name), drawing.rng()
        while True:
            yield from among.decode(
                among.sample(max(count, 8), rng),
                vocabulary_size=drawing.vocabulary,
                maximum_positions=drawing.positions,
                token_types=TOKEN_TYPES,
                head=HEAD,
            )

    yield from _kept(drawn(), count, drawing)


POPULATIONS.register("hybrid")(lambda count, drawing: members("hybrid", count, drawing))
POPULATIONS.register("kd-nas")(lambda count, drawing: members("kd-nas", count, drawing))


def _student(drawing: Drawing, hidden: int, layers: Sequence[Layer], head: Head = HEAD) -> StudentSpec:
    return StudentSpec(hidden, hidden, tuple(layers), drawing.vocabulary, drawing.positions, TOKEN_TYPES, head)


def _endless(draw: Callable[[Generator], StudentSpec], drawing: Drawing) -> Iterator[StudentSpec]:
    rng = drawing.rng()
    while True:
        yield draw(rng)


@POPULATIONS.register("outside")
def outside(count: int, drawing: Drawing) -> Iterator[Item]:
    """Transformers somewhat deeper, narrower or wider than the members of `hybrid`, of widths between its choices.

    Half are alike in all layers; one in six has a factorised embedding.
    """

    def draw(rng: Generator) -> StudentSpec:
        depth, hidden = at((1, 10), rng.random(), 1), at((64, 512), rng.random(), one_of(rng, STEPS))
        layers = [draw_transformer(rng, hidden) for _ in range(depth)]
        spec = _student(drawing, hidden, layers if rng.random() < 0.5 else layers[:1] * depth)
        return spec if rng.random() > 1 / 6 else replace(spec, embedding_width=one_of(rng, (64, 128, 256)))

    yield from _kept(_endless(draw, drawing), count, drawing)


@POPULATIONS.register("mixed")
def mixed(count: int, drawing: Drawing) -> Iterator[Item]:
    """Students whose layers are of any type, half of them of one type alone."""

    def draw(rng: Generator) -> StudentSpec:
        depth, hidden = at((1, 8), rng.random(), 1), at((96, 512), rng.random(), one_of(rng, STEPS))
        kinds = [one_of(rng, LAYER_DRAWS.names()) for _ in range(depth)]
        if rng.random() < 0.5:
            kinds = kinds[:1] * depth
        return _student(drawing, hidden, [LAYER_DRAWS[kind](rng, hidden) for kind in kinds])

    yield from _kept(_endless(draw, drawing), count, drawing)


MOST_LABELS = 64
OTHER_HEADS: tuple[HeadKind, ...] = tuple(kind for kind in get_args(HeadKind) if kind != HEAD.kind)


@POPULATIONS.register("heads")
def headed(count: int, drawing: Drawing) -> Iterator[Item]:
    """Small transformers with each other kind of head in turn; language models have vocabularies of any size."""

    def drawn() -> Iterator[StudentSpec]:
        rng = drawing.rng()
        while True:
            for kind in OTHER_HEADS:
                hidden = at((96, 384), rng.random(), 16)
                layers = [draw_transformer(rng, hidden)] * int(rng.integers(1, 5))
                labels = EXACT_LABELS.get(kind, int(rng.integers(2, MOST_LABELS)))
                words = at((1024, VOCABULARY), rng.random(), 1) if kind.endswith("-lm") else drawing.vocabulary
                yield replace(_student(drawing, hidden, layers, Head(kind, labels)), vocabulary_size=words)

    yield from _kept(drawn(), count, drawing)


@POPULATIONS.register("writers")
def writers(count: int, drawing: Drawing) -> Iterator[Item]:
    """Causal students, half of them alike in all layers, half with words narrower than their layers.

    A third has layers of other types that such students may have. Those that are learned from have vocabularies of any
    size, but for that of the check.
    """
    kinds = sorted(CAUSAL_LAYERS)

    def draw(rng: Generator) -> StudentSpec:
        depth, hidden = at((1, 8), rng.random(), 1), at((64, 512), rng.random(), one_of(rng, STEPS))
        mixed = rng.random() < 1 / 3
        drawn = [one_of(rng, kinds) if mixed else TransformerLayer.type for _ in range(depth)]
        layers = [LAYER_DRAWS[kind](rng, hidden) for kind in drawn]
        spec = _student(drawing, hidden, layers if rng.random() < 0.5 else layers[:1] * depth, WRITING)
        if rng.random() < 0.5:
            spec = replace(spec, embedding_width=at((32, 256), rng.random(), 16))
        if drawing.vocabulary == VOCABULARY:
            return spec
        words = at((1024, MOST_WORDS), rng.random(), 1)
        return replace(spec, vocabulary_size=words - (words == VOCABULARY))

    yield from _kept(_endless(draw, drawing), count, drawing)
