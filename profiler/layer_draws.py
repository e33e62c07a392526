"""Random layers of every type, of widths between and beyond those of the spaces."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from runs.registry import Registry
from students.spec import (
    Activation,
    BottleneckLayer,
    ConvolutionLayer,
    FeedForwardLayer,
    Layer,
    TransformerLayer,
)

Choice = TypeVar("Choice")
Generator = np.random.Generator


def one_of(rng: Generator, choices: Sequence[Choice]) -> Choice:
    """Any of them."""
    return choices[int(rng.integers(len(choices)))]


def multiple(value: float, step: int) -> int:
    """The nearest multiple of `step`, and at least `step`."""
    return max(step, round(value / step) * step)


def at(ends: tuple[int, int], share: float, step: int) -> int:
    """A multiple of `step` at a share of the way between two ends, in ratio rather than in distance."""
    return multiple(ends[0] * (ends[1] / ends[0]) ** share, step)


LAYER_DRAWS: Registry[Callable[[Generator, int], Layer]] = Registry("layer type")
"""Layer type → a random one for a hidden width."""

HEAD_WIDTHS = (16, 23, 32, 32, 44, 64)
"""Those of the spaces, and two of AutoTinyBERT's that are no multiple of anything."""
FFN = (96, 2048)
STEPS = (4, 32)
ACTIVATIONS: tuple[Activation, ...] = ("gelu", "gelu", "relu", "silu")


def _attention(rng: Generator, width: int) -> tuple[int, int]:
    """Heads, and their width all together: at most about as wide as the layer."""
    head_width = one_of(rng, HEAD_WIDTHS)
    heads = int(rng.integers(1, max(width // head_width, 1) + 1))
    return heads, heads * head_width


def _ffn(rng: Generator) -> int:
    return at(FFN, rng.random(), one_of(rng, STEPS))


@LAYER_DRAWS.register("transformer")
def draw_transformer(rng: Generator, hidden: int) -> Layer:
    """One of any sizes."""
    return TransformerLayer(*_attention(rng, hidden), _ffn(rng), one_of(rng, ACTIVATIONS))


@LAYER_DRAWS.register("feed-forward")
def _feed_forward(rng: Generator, hidden: int) -> Layer:
    return FeedForwardLayer(_ffn(rng), int(rng.integers(1, 4)), one_of(rng, ACTIVATIONS))


@LAYER_DRAWS.register("bottleneck")
def _bottleneck(rng: Generator, hidden: int) -> Layer:
    width = max(at((hidden // 4, hidden), rng.random(), 16), 16)
    heads, qkv = _attention(rng, width)
    return BottleneckLayer(width, heads, qkv, _ffn(rng), int(rng.integers(1, 5)), one_of(rng, ACTIVATIONS))


@LAYER_DRAWS.register("convolution")
def _convolution(rng: Generator, hidden: int) -> Layer:
    return ConvolutionLayer(one_of(rng, (3, 5, 7, 9, 15, 31)), _ffn(rng), one_of(rng, ACTIVATIONS))
