"""The one lowering of each block to ONNX operators; stacks and whole students are made of nothing else.

The layout was chosen by timing ONNX Runtime 1.31 with all optimisations on. Its skip-layer-norm kernel is slow: adding
the residual *before* the bias keeps it from being used, which saved 8 % in fp32 and 18–27 % in int8 (6 × 384, 4 × 192,
1 thread). Erf-GELU is written out in the form that it fuses. Constants that would cost an operator at every run are
folded into weights here.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import singledispatch

import numpy as np

from export.arithmetic import ARITHMETICS, Arithmetic
from export.builder import FLOAT, Array, GraphBuilder
from runs.registry import Registry
from students.layers import MASKED_SCORE, NORM_EPSILON
from students.spec import Block, EmbeddingBlock, HeadBlock, LayerBlock, TransformerLayer

Weights = Mapping[str, Array]
"""State-dict names → arrays, as the modules of `students` name them."""


@dataclass(frozen=True)
class Part:
    """One block under construction: its tensors and weights are named `prefix` + what they are."""

    builder: GraphBuilder
    arithmetic: Arithmetic
    weights: Weights
    prefix: str

    def node(self, operator: str, inputs: list[str], name: str, **attributes: object) -> str:
        """An operator of this block."""
        return self.builder.node(operator, inputs, self.prefix + name, **attributes)

    def array(self, name: str) -> Array:
        """A weight of this block."""
        return self.weights[self.prefix + name]

    def add_bias(self, source: str, bias: Array, name: str) -> str:
        """`source` plus a vector over its last axis."""
        return self.node("Add", [source, self.builder.weight(f"{self.prefix}{name}.bias", bias)], name)

    def product(self, source: str, weight: Array, name: str) -> str:
        """`source` · `weight`ᵀ."""
        return self.arithmetic.product(self.builder, source, weight, self.prefix + name)

    def linear(self, source: str, name: str) -> str:
        """The linear layer `name` applied to `source`."""
        return self.add_bias(self.product(source, self.array(f"{name}.weight"), name), self.array(f"{name}.bias"), name)

    def norm(self, source: str, name: str) -> str:
        """The layer norm `name` over the last axis of `source`."""
        inputs = [self.builder.weight(f"{self.prefix}{name}.{part}", self.array(f"{name}.{part}")) for part in NORM]
        return self.node("LayerNormalization", [source, *inputs], name, axis=-1, epsilon=NORM_EPSILON)


NORM = ("weight", "bias")


def _gelu(part: Part, source: str) -> str:
    scaled = part.node("Div", [source, part.builder.scalar(math.sqrt(2.0))], "activation.scaled")
    error = part.node("Erf", [scaled], "activation.erf")
    shifted = part.node("Add", [error, part.builder.scalar(1.0)], "activation.shifted")
    product = part.node("Mul", [source, shifted], "activation.product")
    return part.node("Mul", [product, part.builder.scalar(0.5)], "activation")


def _relu(part: Part, source: str) -> str:
    return part.node("Relu", [source], "activation")


def _silu(part: Part, source: str) -> str:
    return part.node("Mul", [source, part.node("Sigmoid", [source], "activation.sigmoid")], "activation")


ACTIVATIONS: Registry[Callable[[Part, str], str]] = Registry("activation")
ACTIVATIONS.register("gelu")(_gelu)
ACTIVATIONS.register("relu")(_relu)
ACTIVATIONS.register("silu")(_silu)


def _attention(part: Part, layer: TransformerLayer, hidden: str, mask: str) -> str:
    """Attention's context [batch, sequence, qkv width], still without the bias of values.

    The bias of keys adds the same number to all scores of a query, which softmax ignores, so it is left out. Attention
    weights sum to 1, so the bias of values passes through them unchanged and can be added after.
    """
    head_width = layer.qkv_width // layer.heads
    scale = np.float32(1.0 / math.sqrt(head_width))
    query = part.product(hidden, part.array("query.weight") * scale, "query")
    biased = part.add_bias(query, part.array("query.bias") * scale, "query")
    sources = {
        "query": (biased, (0, 2, 1, 3)),
        "key": (part.product(hidden, part.array("key.weight"), "key"), (0, 2, 3, 1)),
        "value": (part.product(hidden, part.array("value.weight"), "value"), (0, 2, 1, 3)),
    }
    split = part.builder.integers(0, 0, layer.heads, head_width)
    heads = {}
    for name, (source, order) in sources.items():
        parted = part.node("Reshape", [source, split], f"{name}.split")
        heads[name] = part.node("Transpose", [parted], f"{name}.heads", perm=order)
    scores = part.node("MatMul", [heads["query"], heads["key"]], "scores")
    masked = part.node("Add", [scores, mask], "scores.masked")
    shares = part.node("Softmax", [masked], "shares", axis=-1)
    context = part.node("MatMul", [shares, heads["value"]], "context.heads")
    rows = part.node("Transpose", [context], "context.rows", perm=(0, 2, 1, 3))
    return part.node("Reshape", [rows, part.builder.integers(0, 0, layer.qkv_width)], "context")


def _transformer(part: Part, layer: TransformerLayer, hidden: str, mask: str) -> str:
    context = _attention(part, layer, hidden, mask)
    weight = part.array("output.weight")
    attended = part.node("Add", [part.product(context, weight, "output"), hidden], "attention_residual")
    bias = part.array("output.bias") + weight @ part.array("value.bias")
    middle = part.norm(part.add_bias(attended, bias, "output"), "attention_norm")
    active = ACTIVATIONS[layer.activation](part, part.linear(middle, "expand"))
    contracted = part.product(active, part.array("contract.weight"), "contract")
    fed = part.node("Add", [contracted, middle], "ffn_residual")
    return part.norm(part.add_bias(fed, part.array("contract.bias"), "contract"), "ffn_norm")


LAYERS: Registry[Callable[[Part, TransformerLayer, str, str], str]] = Registry("layer type")
"""Layer type → (part, layer, hidden [batch, sequence, h], additive mask [batch, 1, 1, sequence]) → hidden."""
LAYERS.register(TransformerLayer.type)(_transformer)


def additive_mask(builder: GraphBuilder, attention_mask: str) -> str:
    """int64 [batch, sequence] of 1 and 0 → [batch, 1, 1, sequence] to add to scores; made once for all layers."""
    spread = builder.node("Unsqueeze", [attention_mask, builder.integers(1, 2)], "mask.spread")
    number = builder.node("Cast", [spread], "mask.float", to=FLOAT)
    padding = builder.node("Sub", [builder.scalar(1.0), number], "mask.padding")
    return builder.node("Mul", [padding, builder.scalar(MASKED_SCORE)], "mask")


@singledispatch
def add_block(block: Block, part: Part, *inputs: str) -> str:
    """Add a block's operators and return the name of its output.

    Inputs: an embedding takes ids and token types, a layer hidden states and additive mask, a head hidden states.
    """
    raise TypeError(f"{type(block).__name__} is not a block")


@add_block.register
def _(block: EmbeddingBlock, part: Part, ids: str, token_types: str) -> str:
    word = part.arithmetic.rows(part.builder, ids, part.array("word.weight"), f"{part.prefix}word")
    table = part.builder.weight(f"{part.prefix}token_type.weight", part.array("token_type.weight"))
    types = part.node("Gather", [table, token_types], "token_type")
    positions = part.builder.weight(f"{part.prefix}position.weight", part.array("position.weight"))
    length = part.node("Shape", [ids], "length", start=1)
    zero = part.builder.integers(0)
    places = part.node("Slice", [positions, zero, length, zero], "position")
    total = part.node("Add", [word, part.node("Add", [types, places], "place")], "sum")
    normed = part.norm(total, "norm")
    return part.linear(normed, "projection") if block.factorised else normed


@add_block.register
def _(block: LayerBlock, part: Part, hidden: str, mask: str) -> str:
    return LAYERS[block.layer.type](part, block.layer, hidden, mask)


@add_block.register
def _(block: HeadBlock, part: Part, hidden: str) -> str:
    first = part.node("Gather", [hidden, part.builder.integer(0)], "first", axis=1)
    # One token a text: int8 would save nothing here and cost accuracy.
    exact = Part(part.builder, ARITHMETICS["fp32"], part.weights, part.prefix)
    pooled = part.node("Tanh", [exact.linear(first, "pooler")], "pooled")
    return exact.linear(pooled, "classifier")
