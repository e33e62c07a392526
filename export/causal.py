"""Causal graphs: tokens that look back alone, and a cache of keys and values that goes in and comes out.

The cache is the graph's own: its keys and values are those of the lowering, without biases, and no other graph's.
"""

from collections.abc import Callable
from dataclasses import replace

from export.beginning import Begun, Cache
from export.blocks import add_block
from export.builder import FLOAT, INT64, GraphBuilder, Value
from export.dialects import OnnxRuntime, Portable
from export.form import Form
from export.part import Dialect, Heads, Part, additive_mask
from runs.registry import Registry
from students.causal import BLOCKED_SCORE
from students.spec import StudentSpec

TO_THE_END = 2**63 - 1


class CachedPortable(Portable):
    """Portable operators over earlier and new keys and values."""

    def __init__(self, cache: Cache) -> None:
        self.cache = cache

    def attend(self, part: Part, heads: Heads, mask: str) -> str:
        past, present = self.cache.grow(heads)
        split = part.builder.integers(0, 0, heads.heads, heads.width // heads.heads)
        apart = {}
        for role in ("query", "key", "value"):
            parted = part.node("Reshape", [getattr(heads, role), split], f"{role}.split")
            apart[role] = part.node("Transpose", [parted], f"{role}.heads", perm=(0, 2, 1, 3))
        for role, earlier, all_of_them in zip(("key", "value"), past, present, strict=True):
            part.builder.node("Concat", [earlier, apart[role]], all_of_them, axis=2)
        turned = part.node("Transpose", [present[0]], "key.turned", perm=(0, 1, 3, 2))
        scores = part.node("MatMul", [apart["query"], turned], "scores")
        shares = part.node("Softmax", [part.node("Add", [scores, mask], "scores.masked")], "shares", axis=-1)
        context = part.node("MatMul", [shares, present[1]], "context.heads")
        rows = part.node("Transpose", [context], "context.rows", perm=(0, 2, 1, 3))
        return part.node("Reshape", [rows, part.builder.integers(0, 0, heads.width)], "context")


class CachedOnnxRuntime(OnnxRuntime):
    """Opset 23's `Attention`, which keeps the cache itself."""

    def __init__(self, cache: Cache) -> None:
        self.cache = cache

    def attend(self, part: Part, heads: Heads, mask: str) -> str:
        past, present = self.cache.grow(heads)
        sources = [self.as_tokens(part, getattr(heads, role), f"{role}.tokens") for role in ("query", "key", "value")]
        numbers = {"q_num_heads": heads.heads, "kv_num_heads": heads.heads, "scale": 1.0}
        names = (f"{part.prefix}context.tokens", *present)
        context = part.builder.nodes("Attention", [*sources, mask, *past], names, **numbers)[0]
        return self.as_stream(part, context, heads.width, "context")


CACHED: Registry[Callable[[Cache], Dialect]] = Registry("dialect of causal models")
"""Dialect → the same with attention over a cache."""
CACHED.register(Portable.name)(CachedPortable)
CACHED.register(OnnxRuntime.name)(CachedOnnxRuntime)


def begin_causal(part: Part, spec: StudentSpec, form: Form) -> Begun:
    """Inputs `input_ids` [batch, sequence] and `attention_mask` [batch, total], both int64; all tokens are of type 0.

    `total` are earlier and new tokens together. Positions follow the mask, as in `students.causal`.
    """
    cache = Cache(form)
    part = replace(part, dialect=CACHED[form.dialect](cache))
    batch, sequence = form.axes
    inputs = [Value("input_ids", INT64, (batch, sequence)), Value("attention_mask", INT64, (batch, "total"))]
    builder = part.builder
    length = builder.node("Shape", ["input_ids"], "tokens.new", start=1)
    window = [builder.node("Neg", [length], "tokens.first"), builder.integers(TO_THE_END)]
    places = _positions(builder, window)
    embedding = replace(part, prefix="embeddings.")
    embedded = add_block(spec.blocks()[0], embedding, "input_ids", builder.integer(0), places)
    return Begun(part, inputs, embedded, _mask(builder, window), cache)


def _positions(builder: GraphBuilder, window: list[str]) -> str:
    """int64 [batch, sequence]: real tokens count up from 0."""
    counted = builder.node("CumSum", ["attention_mask", builder.integer(1)], "positions.counted")
    before = builder.node("Sub", [counted, builder.integer(1)], "positions.before")
    places = builder.node("Max", [before, builder.integer(0)], "positions.all")
    return builder.node("Slice", [places, *window, builder.integers(1)], "positions")


def _mask(builder: GraphBuilder, window: list[str]) -> str:
    """float [batch, 1, sequence, total] to add to scores: no padding, and nothing that comes later."""
    padding = additive_mask(builder, "attention_mask")
    sizes = builder.node("Shape", ["attention_mask"], "tokens.sizes.all")
    total = builder.node("Gather", [sizes, builder.integer(1)], "tokens.total")
    place = builder.node("Range", [builder.integer(0), total, builder.integer(1)], "places")
    own = builder.node("Slice", [place, *window, builder.integers(0)], "places.new")
    rows = builder.node("Unsqueeze", [own, builder.integers(1)], "places.rows")
    later = builder.node("Cast", [builder.node("Greater", [place, rows], "places.later")], "later.float", to=FLOAT)
    blocked = builder.node("Mul", [later, builder.scalar(BLOCKED_SCORE)], "later.mask")
    return builder.node("Add", [padding, blocked], "mask.causal")
