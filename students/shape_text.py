"""A student's shape in a few words, for tables and sentences."""

from collections import Counter
from collections.abc import Iterable

from students.layer_types import TransformerLayer
from students.spec import BottleneckLayer, StudentSpec


def shape_text(spec: StudentSpec) -> str:
    """`5 layers × 384, heads 5–9, FFN 1200`: ranges where layers differ, and how many are of another type.

    Layers that share their weights, and words narrower than the hidden state, are told where there are any.
    """
    counted = Counter(layer.type for layer in spec.layers)
    others = [f"{count} {kind}" for kind, count in counted.items() if kind != TransformerLayer.type]
    types = f" ({', '.join(others)})" if others else ""
    heads = [layer.heads for layer in spec.layers if isinstance(layer, TransformerLayer | BottleneckLayer)]
    attention = f"heads {_span(heads)}, " if heads else ""
    plural = "" if len(spec.layers) == 1 else "s"
    ffn = _span(layer.ffn_width for layer in spec.layers)
    words = f", words {spec.embedding_width}" if spec.embedding_width != spec.hidden_width else ""
    own = len(set(spec.owners))
    shared = f", weights of {own}" if own < len(spec.layers) else ""
    return f"{len(spec.layers)} layer{plural} × {spec.hidden_width}{types}{shared}{words}, {attention}FFN {ffn}"


def _span(values: Iterable[int]) -> str:
    found = sorted(set(values))
    return f"{found[0]}" if len(found) == 1 else f"{found[0]}–{found[-1]}"
