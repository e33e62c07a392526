"""The one lowering of each block to ONNX operators; stacks and whole students are made of nothing else.

The layout was chosen by timing ONNX Runtime 1.31 with all optimisations on. Its skip-layer-norm kernel is slow: adding
the residual *before* the bias keeps it from being used, which saved 8 % in fp32 and 18–27 % in int8 (6 × 384, 4 × 192,
1 thread). Constants that would cost an operator at every run are folded into weights here; what the dialects say
differently is in `export.dialects`.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import singledispatch
from typing import Any

import numpy as np

from export.builder import Array
from export.part import Heads, Part, query_scale
from runs.registry import Registry
from students.spec import Block, EmbeddingBlock, HeadBlock, LayerBlock, TransformerLayer


def _relu(part: Part, source: str, name: str) -> str:
    return part.node("Relu", [source], name)


def _silu(part: Part, source: str, name: str) -> str:
    return part.node("Mul", [source, part.node("Sigmoid", [source], f"{name}.sigmoid")], name)


ACTIVATIONS: Registry[Callable[[Part, str, str], str]] = Registry("activation")
"""Activation → (part, source, name of the result) → result."""
ACTIVATIONS.register("gelu")(lambda part, source, name: part.dialect.gelu(part, source, name))
ACTIVATIONS.register("relu")(_relu)
ACTIVATIONS.register("silu")(_silu)


def attention(part: Part, heads: int, width: int, query: str, key: str, value: str, mask: str) -> str:
    """Attention's context, `width` channels over all `heads`, still without the bias of values.

    `query`, `key`, `value` name the tensors that the linear layers of these names read. The bias of keys adds the same
    number to all scores of a query, which softmax ignores, so it is left out. Attention weights sum to 1, so the
    bias of values passes through them unchanged; `attended` adds it.
    """
    scale = np.float32(query_scale(width, heads))
    scaled = part.affine(query, part.array("query.weight") * scale, part.array("query.bias") * scale, "query")
    keys = part.product(key, part.array("key.weight"), "key")
    values = part.product(value, part.array("value.weight"), "value")
    return part.dialect.attend(part, Heads(scaled, keys, values, heads, width), mask)


def attended(part: Part, context: str, kept: str) -> str:
    """`kept` plus the linear layer `output` of a context that `attention` made."""
    weight = part.array("output.weight")
    bias = part.array("output.bias") + weight @ part.array("value.bias")
    return part.residual(context, weight, bias, kept, "output")


def feed_forward(part: Part, activation: str, hidden: str, prefix: str = "") -> str:
    """`hidden` plus the linear layers `expand` and `contract` with an activation between, not yet normed."""
    active = ACTIVATIONS[activation](part, part.linear(hidden, f"{prefix}expand"), f"{prefix}activation")
    return part.linear_residual(active, hidden, f"{prefix}contract")


def _transformer(part: Part, layer: TransformerLayer, hidden: str, mask: str) -> str:
    made = replace(part, first_only=False).first(hidden) if part.first_only else hidden
    context = attention(part, layer.heads, layer.qkv_width, made, hidden, hidden, mask)
    middle = part.norm(attended(part, context, made), "attention_norm")
    return part.norm(feed_forward(part, layer.activation, middle), "ffn_norm")


LAYERS: Registry[Callable[[Part, Any, str, str], str]] = Registry("layer type")
"""Layer type → (part, layer, hidden in the dialect's layout, additive mask [batch, 1, 1, sequence]) → hidden."""
LAYERS.register(TransformerLayer.type)(_transformer)


def exactly(part: Part) -> Part:
    """The part with products in fp32: for a head over one token a text int8 would save nothing and cost accuracy."""
    return part.with_arithmetic(replace(part.arithmetic, product=part.arithmetic.small_product))


@singledispatch
def add_block(block: Block, part: Part, *inputs: str) -> str:
    """Add a block's operators and return the name of its output.

    Inputs: an embedding takes ids and token types, and positions where they do not count up from 0, and gives
    [batch, sequence, h]; a layer takes hidden states in the dialect's layout and additive mask; a head takes hidden
    states [batch, sequence, h], of which a pooled one may be given the first token alone.
    """
    raise TypeError(f"{type(block).__name__} is not a block")


@add_block.register
def _(block: EmbeddingBlock, part: Part, ids: str, token_types: str, positions: str | None = None) -> str:
    word = part.arithmetic.rows(part.builder, ids, part.array("word.weight"), f"{part.prefix}word")
    types = part.node(
        "Gather", [part.vector("token_type.weight", part.array("token_type.weight")), token_types], "types"
    )
    # One Sum and not two Adds, which ONNX Runtime would fuse with the norm into its slow kernel.
    places = _places(part, ids) if positions is None else _places_at(part, positions)
    total = part.node("Sum", [word, types, places], "sum")
    normed = part.norm(total, "norm")
    if not block.factorised:
        return normed
    product = part.product(normed, part.array("projection.weight"), "projection")
    return part.add_bias(product, part.array("projection.bias"), "projection")


def _places(part: Part, ids: str) -> str:
    """Position embeddings of as many tokens as there are, [sequence, embedding width]."""
    table, length = part.array("position.weight"), part.builder.axes[1]
    whole = _table(part, table[:length] if isinstance(length, int) else table)
    if isinstance(length, int):
        return whole
    sizes, zero = part.node("Shape", [ids], "length", start=1), part.builder.integers(0)
    return part.node("Slice", [whole, zero, sizes, zero], "position")


def _places_at(part: Part, positions: str) -> str:
    """Position embeddings of int64 [batch, sequence], [batch, sequence, embedding width]."""
    return part.node("Gather", [_table(part, part.array("position.weight")), positions], "position")


def _table(part: Part, table: Array) -> str:
    """The position embeddings as a constant, stored as the precision has it."""
    return part.arithmetic.whole(part.builder, table, f"{part.prefix}position")


@add_block.register
def _(block: LayerBlock, part: Part, hidden: str, mask: str) -> str:
    return LAYERS[block.layer.type](part.narrowed() if block.first_only else part, block.layer, hidden, mask)


@add_block.register
def _(block: HeadBlock, part: Part, hidden: str) -> str:
    exact = exactly(part)
    first = part.node("Gather", [hidden, part.builder.integer(0)], "first", axis=1)
    pooled = part.node("Tanh", [exact.linear(first, "pooler")], "pooled")
    return exact.linear(pooled, "classifier")
