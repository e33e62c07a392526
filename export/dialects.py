"""The dialects: `portable` runs on any runtime of the last years, `onnxruntime` is what that runtime runs fastest."""

import math
from dataclasses import replace

from export.builder import Array, GraphBuilder
from export.part import DIALECTS, Dialect, Heads, Part


class Portable(Dialect):
    """Basic operators of opset 17, hidden states as [batch, sequence, width]."""

    name = "portable"
    opset = 17
    ir_version = 8

    def enter(self, builder: GraphBuilder, hidden: str, width: int) -> str:
        return hidden

    def as_tokens(self, part: Part, source: str, name: str) -> str:
        return source

    def as_stream(self, part: Part, source: str, width: int, name: str) -> str:
        return source

    def first(self, part: Part, tokens: str, name: str) -> str:
        return part.node("Gather", [tokens, part.builder.integers(0)], name, axis=1)

    def affine(self, part: Part, source: str, weight: Array, bias: Array, name: str) -> str:
        return part.add_bias(part.product(source, weight, name), bias, name)

    def add_product(self, part: Part, source: str, weight: Array, kept: str, name: str) -> str:
        return part.node("Add", [part.product(source, weight, name), kept], f"{name}.residual")

    def attend(self, part: Part, heads: Heads, mask: str) -> str:
        orders = {"query": (0, 2, 1, 3), "key": (0, 2, 3, 1), "value": (0, 2, 1, 3)}
        split = part.builder.integers(0, 0, heads.heads, heads.width // heads.heads)
        apart = {}
        for role, order in orders.items():
            parted = part.node("Reshape", [getattr(heads, role), split], f"{role}.split")
            apart[role] = part.node("Transpose", [parted], f"{role}.heads", perm=order)
        scores = part.node("MatMul", [apart["query"], apart["key"]], "scores")
        masked = part.node("Add", [scores, mask], "scores.masked")
        shares = part.node("Softmax", [masked], "shares", axis=-1)
        context = part.node("MatMul", [shares, apart["value"]], "context.heads")
        rows = part.node("Transpose", [context], "context.rows", perm=(0, 2, 1, 3))
        return part.node("Reshape", [rows, part.builder.integers(0, 0, heads.width)], "context")

    def gelu(self, part: Part, source: str, name: str) -> str:
        # In the form that ONNX Runtime and OpenVINO recognise and fuse.
        scaled = part.node("Div", [source, part.builder.scalar(math.sqrt(2.0))], f"{name}.scaled")
        error = part.node("Erf", [scaled], f"{name}.erf")
        shifted = part.node("Add", [error, part.builder.scalar(1.0)], f"{name}.shifted")
        product = part.node("Mul", [source, shifted], f"{name}.product")
        return part.node("Mul", [product, part.builder.scalar(0.5)], name)


class OnnxRuntime(Dialect):
    """Opset 23's `Attention` and `Gelu`; hidden states as rows [batch · sequence, width].

    Chosen by timing ONNX Runtime 1.31 (`benchmarks/export_latency.py` repeats the outcome). Rows let `Gemm` add biases
    and residuals for next to nothing. `Attention` on three axes takes a fifth less than transposes, products and
    softmax apart. The contrib operators, a packed product for queries, keys and values, and `SkipLayerNormalization`
    were all slower.
    """

    name = "onnxruntime"
    opset = 23
    ir_version = 10

    SHAPE = "tokens.shape"
    PAIRS = "mask.pairs"

    def enter(self, builder: GraphBuilder, hidden: str, width: int) -> str:
        if builder.axes_known:
            builder.weight_integers(self.SHAPE, (*builder.axes_known, -1))
        else:
            sizes = builder.node("Shape", [hidden], "tokens.sizes", end=2)
            builder.node("Concat", [sizes, builder.integers(-1)], self.SHAPE, axis=0)
        return builder.node("Reshape", [hidden, builder.integers(-1, width)], "stream")

    def as_tokens(self, part: Part, source: str, name: str) -> str:
        if part.first_only:
            return part.node("Unsqueeze", [source, part.builder.integers(1)], name)
        return part.node("Reshape", [source, self.SHAPE], name)

    def as_stream(self, part: Part, source: str, width: int, name: str) -> str:
        return part.node("Reshape", [source, part.builder.integers(-1, width)], name)

    def first(self, part: Part, tokens: str, name: str) -> str:
        return part.node("Gather", [tokens, part.builder.integer(0)], name, axis=1)

    def affine(self, part: Part, source: str, weight: Array, bias: Array, name: str) -> str:
        product = part.product(source, weight, name)
        if part.builder.absorb_bias(product, addend := part.vector(f"{name}.bias", bias)):
            return product
        return part.node("Add", [product, addend], name)

    def add_product(self, part: Part, source: str, weight: Array, kept: str, name: str) -> str:
        product = part.product(source, weight, name)
        return product if part.builder.absorb(product, kept) else part.node("Add", [product, kept], f"{name}.residual")

    def attend(self, part: Part, heads: Heads, mask: str) -> str:
        looked_at = replace(part, first_only=False)
        sources = [self.as_tokens(part, heads.query, "query.tokens")]
        sources += [self.as_tokens(looked_at, getattr(heads, role), f"{role}.tokens") for role in ("key", "value")]
        pairs = mask if part.first_only else self._pairs(part.builder, mask)
        numbers = {"q_num_heads": heads.heads, "kv_num_heads": heads.heads, "scale": 1.0}
        context = part.node("Attention", [*sources, pairs], "context.tokens", **numbers)
        return self.as_stream(part, context, heads.width, "context")

    def _pairs(self, builder: GraphBuilder, mask: str) -> str:
        """The mask for each query: `Attention` wants it as [batch, 1, sequence, sequence]."""
        if builder.made(self.PAIRS):
            return self.PAIRS
        if builder.axes_known:
            shape = builder.integers(builder.axes_known[1], 1)
        else:
            length = builder.node("Shape", [mask], "mask.length", start=3)
            shape = builder.node("Concat", [length, builder.integers(1)], "mask.shape", axis=0)
        return builder.node("Expand", [mask, shape], self.PAIRS)

    def gelu(self, part: Part, source: str, name: str) -> str:
        return part.node("Gelu", [source], name)


for _dialect in (Portable(), OnnxRuntime()):
    DIALECTS.register(_dialect.name)(_dialect)
