"""Random students over every layer type, activation, head and way of sharing weights, small enough to run in bulk."""

from collections.abc import Callable, Sequence
from typing import Any, get_args

import numpy as np

from runs.registry import Registry
from students.heads import CAUSAL_LAYERS
from students.spec import (
    Activation,
    BottleneckLayer,
    ConvolutionLayer,
    FeedForwardLayer,
    Head,
    HeadKind,
    Layer,
    StudentSpec,
    TransformerLayer,
)

ACTIVATIONS: tuple[Activation, ...] = get_args(Activation)
HEAD_KINDS: tuple[HeadKind, ...] = get_args(HeadKind)
LABELS = {"regression": (1, 1), "spans": (2, 2), "classification": (2, 6), "tokens": (2, 6)}
"""Head kind → fewest and most labels; one where they mean nothing."""

DEEPEST = 4
WIDEST = 48


def _any(rng: np.random.Generator, *among: Any) -> Any:
    return among[int(rng.integers(len(among)))]


def _between(rng: np.random.Generator, low: int, high: int) -> int:
    return int(rng.integers(low, high + 1))


DRAWN: Registry[Callable[[np.random.Generator], Layer]] = Registry("layer type")
"""Layer type → a random layer of it."""


@DRAWN.register(TransformerLayer.type)
def _transformer(rng: np.random.Generator) -> Layer:
    heads = _between(rng, 1, 4)
    return TransformerLayer(heads, heads * _between(rng, 1, 9), _between(rng, 1, 64), _any(rng, *ACTIVATIONS))


@DRAWN.register(FeedForwardLayer.type)
def _feed_forward(rng: np.random.Generator) -> Layer:
    return FeedForwardLayer(_between(rng, 1, 64), _between(rng, 1, 3), _any(rng, *ACTIVATIONS))


@DRAWN.register(BottleneckLayer.type)
def _bottleneck(rng: np.random.Generator) -> Layer:
    heads = _between(rng, 1, 4)
    widths = _between(rng, 2, 24), heads, heads * _between(rng, 1, 9), _between(rng, 1, 64)
    return BottleneckLayer(*widths, ffn_count=_between(rng, 1, 3), activation=_any(rng, *ACTIVATIONS))


@DRAWN.register(ConvolutionLayer.type)
def _convolution(rng: np.random.Generator) -> Layer:
    return ConvolutionLayer(_any(rng, 1, 3, 5, 9), _between(rng, 1, 64), _any(rng, *ACTIVATIONS))


def random_head(rng: np.random.Generator, kinds: Sequence[HeadKind] = HEAD_KINDS) -> Head:
    """A head of one of `kinds`."""
    kind: HeadKind = _any(rng, *kinds)
    return Head(kind, _between(rng, *LABELS.get(kind, (1, 1))))


def random_spec(rng: np.random.Generator, *, heads: Sequence[HeadKind] = HEAD_KINDS) -> StudentSpec:
    """A student of up to `DEEPEST` layers and `WIDEST` channels; about half of them share weights between layers."""
    head = random_head(rng, heads)
    types = CAUSAL_LAYERS if head.kind == "causal-lm" else tuple(DRAWN)
    shares = rng.random() < 0.5
    layers: list[Layer] = []
    owners: list[int] = []
    for place in range(_between(rng, 1, DEEPEST)):
        owner = owners[int(rng.integers(place))] if shares and place and rng.random() < 0.6 else place
        owners.append(owner)
        layers.append(layers[owner] if owner < place else DRAWN[_any(rng, *types)](rng))
    hidden = _between(rng, 2, WIDEST)
    return StudentSpec(
        embedding_width=hidden if rng.random() < 0.5 else _between(rng, 2, WIDEST),
        hidden_width=hidden,
        layers=tuple(layers),
        vocabulary_size=_between(rng, 2, 120),
        maximum_positions=_between(rng, 4, 60),
        token_types=_between(rng, 1, 3),
        head=head,
        sharing=tuple(owners),
    )
