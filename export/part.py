"""A block under construction, and what makes dialects differ: the vocabulary in which layers are lowered."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from export.arithmetic import Arithmetic
from export.builder import FLOAT, Array, GraphBuilder
from runs.registry import Registry
from students.layers import MASKED_SCORE, NORM_EPSILON

Weights = Mapping[str, Array]
"""State-dict names → arrays, as the modules of `students` name them."""

NORM = ("weight", "bias")


@dataclass(frozen=True)
class Part:
    """One block under construction: its tensors and weights are named `prefix` + what they are.

    Between layers hidden states flow in the dialect's own layout (`Dialect.enter`); `product`, `linear`, `norm` and
    activations take either layout, and `as_tokens` gives [batch, sequence, width] to whatever needs the axes apart.
    """

    builder: GraphBuilder
    arithmetic: Arithmetic
    weights: Weights
    prefix: str
    dialect: "Dialect"
    first_only: bool = False
    """Whether what flows from here on is the first token of each text alone."""

    def node(self, operator: str, inputs: list[str], name: str, **attributes: Any) -> str:
        """An operator of this block."""
        return self.builder.node(operator, inputs, self.prefix + name, **attributes)

    def array(self, name: str) -> Array:
        """A weight of this block."""
        return self.weights[self.prefix + name]

    def vector(self, name: str, value: Array) -> str:
        """A small weight that every precision keeps as it is."""
        return self.builder.weight(self.prefix + name, value)

    def add_bias(self, source: str, bias: Array, name: str) -> str:
        """`source` plus a vector over its last axis."""
        return self.node("Add", [source, self.vector(f"{name}.bias", bias)], name)

    def product(self, source: str, weight: Array, name: str) -> str:
        """`source` · `weight`ᵀ."""
        return self.arithmetic.product(self.builder, source, weight, self.prefix + name)

    def affine(self, source: str, weight: Array, bias: Array, name: str) -> str:
        """`source` · `weight`ᵀ + `bias`."""
        return self.dialect.affine(self, source, weight, bias, name)

    def linear(self, source: str, name: str) -> str:
        """The linear layer `name` applied to `source`."""
        return self.affine(source, self.array(f"{name}.weight"), self.array(f"{name}.bias"), name)

    def residual(self, source: str, weight: Array, bias: Array, kept: str, name: str) -> str:
        """`kept` + `source` · `weight`ᵀ + `bias`, in the order that keeps ONNX Runtime's slow skip-norm kernel away."""
        return self.add_bias(self.dialect.add_product(self, source, weight, kept, name), bias, name)

    def linear_residual(self, source: str, kept: str, name: str) -> str:
        """`kept` plus the linear layer `name` applied to `source`."""
        return self.residual(source, self.array(f"{name}.weight"), self.array(f"{name}.bias"), kept, name)

    def norm(self, source: str, name: str) -> str:
        """The layer norm `name` over the last axis of `source`."""
        inputs = [self.vector(f"{name}.{part}", self.array(f"{name}.{part}")) for part in NORM]
        return self.node("LayerNormalization", [source, *inputs], name, axis=-1, epsilon=NORM_EPSILON)

    def as_tokens(self, source: str, name: str) -> str:
        """`source` as [batch, sequence, width]."""
        return self.dialect.as_tokens(self, source, name)

    def as_stream(self, source: str, width: int, name: str) -> str:
        """[batch, sequence, `width`] in the layout that flows between layers."""
        return self.dialect.as_stream(self, source, width, name)

    def first(self, hidden: str) -> str:
        """The first token of each text, in the flowing layout."""
        tokens = self.as_tokens(hidden, "tokens")
        return self.dialect.first(self, tokens, "first")

    def narrowed(self) -> "Part":
        """The same block where the first token of each text alone flows."""
        return replace(self, first_only=True)

    def with_arithmetic(self, arithmetic: Arithmetic) -> "Part":
        """The same block in another precision from here on."""
        return replace(self, arithmetic=arithmetic)


@dataclass(frozen=True)
class Heads:
    """What attention runs over: [batch, sequence, heads · head width] queries (scaled already), keys and values."""

    query: str
    key: str
    value: str
    heads: int
    width: int
    """All heads together."""


class Dialect(ABC):
    """One way to say the same arithmetic in ONNX operators."""

    name: str
    opset: int
    ir_version: int

    @abstractmethod
    def enter(self, builder: GraphBuilder, hidden: str, width: int) -> str:
        """[batch, sequence, `width`] → the layout that flows between layers; called once a graph, before any layer."""

    @abstractmethod
    def as_tokens(self, part: Part, source: str, name: str) -> str:
        """The flowing layout → [batch, sequence, width]."""

    @abstractmethod
    def as_stream(self, part: Part, source: str, width: int, name: str) -> str:
        """[batch, sequence, `width`] → the flowing layout."""

    @abstractmethod
    def first(self, part: Part, tokens: str, name: str) -> str:
        """[batch, sequence, width] → the first token of each text, in the flowing layout."""

    @abstractmethod
    def affine(self, part: Part, source: str, weight: Array, bias: Array, name: str) -> str:
        """`source` · `weight`ᵀ + `bias`."""

    @abstractmethod
    def add_product(self, part: Part, source: str, weight: Array, kept: str, name: str) -> str:
        """`kept` + `source` · `weight`ᵀ."""

    @abstractmethod
    def attend(self, part: Part, heads: Heads, mask: str) -> str:
        """softmax(query · keyᵀ + mask) · value of every head, in the flowing layout; `mask` is `additive_mask`'s.

        In a `first_only` part there are queries of the first tokens, and keys and values of all.
        """

    @abstractmethod
    def gelu(self, part: Part, source: str, name: str) -> str:
        """The exact GELU, by the error function."""


DIALECTS: Registry[Dialect] = Registry("dialect")


def query_scale(width: int, heads: int) -> float:
    """What queries are multiplied by before they meet keys; lowerings fold it into the weights."""
    return 1.0 / math.sqrt(width // heads)


def additive_mask(builder: GraphBuilder, attention_mask: str) -> str:
    """int64 [batch, sequence] of 1 and 0 → [batch, 1, 1, sequence] to add to scores; made once for all layers."""
    spread = builder.node("Unsqueeze", [attention_mask, builder.integers(1, 2)], "mask.spread")
    number = builder.node("Cast", [spread], "mask.float", to=FLOAT)
    # In this order zeros come out as +0.0; MNN tells −0.0 from it.
    padding = builder.node("Sub", [number, builder.scalar(1.0)], "mask.padding")
    return builder.node("Mul", [padding, builder.scalar(-MASKED_SCORE)], "mask")
