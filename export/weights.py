"""Weights for graphs and modules: a model's own, or cheap random ones where only the time matters."""

from collections.abc import Iterator, Mapping
from functools import cache, singledispatch

import numpy as np
import torch
from torch import nn

import students.head_modules
import students.layer_bottleneck
import students.layer_convolution
import students.layer_feed_forward  # noqa: F401  these register the modules of heads and layer types
from export.arithmetic import Reach
from export.builder import Array
from export.items import Stack, copies
from students.layers import BlockStack, EmbeddingModule, build_block
from students.spec import EmbeddingBlock, LayerBlock, StudentSpec
from students.tying import tied_names

POOL_SIZE = 2**20 + 7
"""Numbers in the shared pool; prime to usual widths, so that rows of a large table differ."""

STANDARD_DEVIATION = 0.04


@cache
def _pool() -> Array:
    """Small normal numbers, none near enough to zero to be denormal."""
    drawn = np.random.default_rng(0).standard_normal(POOL_SIZE).astype(np.float32) * np.float32(STANDARD_DEVIATION)
    return np.where(np.abs(drawn) < 1e-6, np.float32(1e-6), drawn)


def random_weights(shapes: Mapping[str, tuple[int, ...]], seed: int = 0) -> dict[str, Array]:
    """Arrays of these shapes, each with memory of its own, cut from one pool at places drawn from `seed`.

    Layer norms scale by about 1. An embedding table of 30522 × 384 takes some 20 ms.
    """
    rng = np.random.default_rng(seed)
    weights = {}
    for name, shape in shapes.items():
        size = int(np.prod(shape))
        start = int(rng.integers(POOL_SIZE))
        values = np.empty(size, dtype=np.float32)
        filled = 0
        while filled < size:
            piece = _pool()[start : start + size - filled]
            values[filled : filled + len(piece)] = piece
            filled, start = filled + len(piece), 0
        if name.endswith("norm.weight"):
            values += np.float32(1.0)
        weights[name] = values.reshape(shape)
    return weights


@singledispatch
def random_module(item: Stack | StudentSpec, seed: int = 0) -> nn.Module:
    """The item as a module in eval mode with random weights, made without torch's slow initialization."""
    raise TypeError(f"{type(item).__name__} has weights of its own")


@singledispatch
def item_weights(item: Stack | StudentSpec, seed: int = 0) -> dict[str, Array]:
    """The weights of `random_module(item, seed)` under the names that graphs use, without `transformers`' models."""
    raise TypeError(f"{type(item).__name__} has weights of its own")


@item_weights.register
def _(item: Stack, seed: int = 0) -> dict[str, Array]:
    return random_weights(_shapes(_empty_stack(item)), seed)


@item_weights.register
def _(item: StudentSpec, seed: int = 0) -> dict[str, Array]:
    first, *blocks = item.blocks()
    assert isinstance(first, EmbeddingBlock)
    empty = nn.Module()
    with torch.device("meta"):
        empty.embeddings = EmbeddingModule(first)
        layers = nn.ModuleList(build_block(block) for block in blocks if isinstance(block, LayerBlock))
        empty.layers = layers
        if item.head.kind != "none":
            empty.head = build_block(blocks[-1])
    weights = random_weights(_shapes(empty), seed)
    return weights | {name: weights[owner] for name, owner in tied_names(layers, item.owners).items()}


def _empty_stack(stack: Stack) -> nn.Module:
    with torch.device("meta"):
        block = stack.block
        return BlockStack(block, copies(stack)) if isinstance(block, LayerBlock) else build_block(block)


def _shapes(empty: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in empty.state_dict().items()}


def _filled(empty: nn.Module, seed: int) -> nn.Module:
    tensors = {name: torch.from_numpy(value) for name, value in random_weights(_shapes(empty), seed).items()}
    empty.load_state_dict(tensors, assign=True)
    return empty.eval().requires_grad_(False)


@random_module.register
def _(item: Stack, seed: int = 0) -> nn.Module:
    return _filled(_empty_stack(item), seed)


@random_module.register
def _(item: StudentSpec, seed: int = 0) -> nn.Module:
    # Loads most of `transformers`, which a process that measures graphs alone need not wait for.
    from students.model import build_student

    with torch.device("meta"):
        empty = build_student(item)
    module = _filled(empty, seed)
    # Weights that layers share came apart when each name was given an array of its own.
    empty.tie_weights()
    return module


class SameEverywhere(Mapping[str, Reach]):
    """Ranges that know every product there may be, and say the same of each."""

    def __init__(self, reach: Reach) -> None:
        self._reach = reach

    def __getitem__(self, name: str) -> Reach:
        return self._reach

    def __contains__(self, name: object) -> bool:
        return True

    def __iter__(self) -> Iterator[str]:
        raise TypeError("these ranges have no end")

    def __len__(self) -> int:
        raise TypeError("these ranges have no end")


USUAL_RANGES = SameEverywhere(Reach(-8.0, 8.0))
"""Wide enough for what follows a layer norm, which is what most products multiply: time does not depend on them."""


def module_weights(module: nn.Module) -> dict[str, Array]:
    """A module's weights as float32 arrays under the names that graphs use: an encoder's stand without `student.`."""
    state = module.state_dict()
    return {name.removeprefix("student."): tensor.detach().float().cpu().numpy() for name, tensor in state.items()}
