"""Published shapes that people built by hand, each made narrower or wider until it fills a budget."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from nas.finalists import MARGIN
from runs.errors import UserError
from students.shapes import SHAPES
from students.spec import StudentSpec, TransformerLayer, transformer_layers

NAMES = ("tinybert-4", "bert-mini", "bert-tiny", "minilm-l6-h384", "autotinybert-kd-s1", "autotinybert-kd-s4")
"""Each has its own depth, heads and share of feed-forwards; AutoTinyBERT's were found by a search, for other data and
another device."""

STEP = 4
"""Hidden widths that are tried, in channels."""

Milliseconds = Callable[[Sequence[StudentSpec]], np.ndarray]
"""Specs → what a clock should show of each [n]."""

HEADS_OFF = 0.25
"""How far a student's heads may be from the shape's own width, as a share: widths that no fitting number of heads
divides are passed over."""


@dataclass(frozen=True)
class Proportions:
    """What stays of a shape whatever its width: layers, heads, and widths as shares of the hidden one."""

    layers: int
    head_width: float
    qkv: float
    ffn: float

    def at(self, hidden: int, like: StudentSpec) -> StudentSpec:
        """A student of this hidden width with the words and the head of `like`, its heads as wide as may be as here.

        Where queries are as wide as the hidden state they stay so, and the heads divide it.
        """
        heads = max(1, round(self.qkv * hidden / self.head_width))
        if self.qkv == 1.0:
            heads = min((n for n in range(1, hidden + 1) if hidden % n == 0), key=lambda n: (abs(n - heads), n))
        qkv = round(self.qkv * hidden / heads) * heads
        layer = TransformerLayer(heads, qkv, max(8, round(self.ffn * hidden / 8) * 8))
        return replace(like, embedding_width=hidden, hidden_width=hidden, layers=(layer,) * self.layers)

    def keeps_heads(self, spec: StudentSpec) -> bool:
        """Whether a student's heads are about as wide as the shape's; one alone may be narrower."""
        layer = transformer_layers(spec, "this comparison")[0]
        width = layer.qkv_width / layer.heads
        return layer.heads == 1 and width < self.head_width or abs(width / self.head_width - 1) <= HEADS_OFF


def proportions(name: str) -> Proportions:
    """Those of a named shape."""
    spec = SHAPES[name]
    first = transformer_layers(spec, "this comparison")[0]
    hidden = spec.hidden_width
    return Proportions(
        len(spec.layers), first.qkv_width / first.heads, first.qkv_width / hidden, first.ffn_width / hidden
    )


def scaled(
    name: str, budget_ms: float, milliseconds: Milliseconds, like: StudentSpec, widest: int = 768
) -> StudentSpec:
    """The widest student in a named shape's proportions that a budget holds; `UserError` where it holds none."""
    kind = proportions(name)
    members = [kind.at(hidden, like) for hidden in range(8 * STEP, widest + 1, STEP)]
    members = [spec for spec in members if kind.keeps_heads(spec)]
    # As much of the budget stays free as a search leaves.
    limit = budget_ms * (1.0 - MARGIN)
    fitting = [spec for spec, ms in zip(members, milliseconds(members), strict=True) if ms <= limit]
    if not fitting:
        raise UserError(
            f"no student in the proportions of {name} takes {budget_ms:g} ms or less: give a larger budget."
        )
    return fitting[-1]
