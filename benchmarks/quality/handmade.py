"""Published shapes that people built by hand, each made narrower or wider until it fills a budget."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from runs.errors import UserError
from students.shapes import SHAPES
from students.spec import StudentSpec, TransformerLayer, transformer_layers

NAMES = ("tinybert-4", "bert-mini", "bert-tiny", "minilm-l6-h384", "autotinybert-kd-s1", "autotinybert-kd-s4")
"""Each has its own depth, heads and share of feed-forwards; AutoTinyBERT's were found by a search, for other data and
another device."""

STEP = 4
"""Hidden widths that are tried, in channels."""

Upper = Callable[[Sequence[StudentSpec]], np.ndarray]
"""Specs → the upper ends of their predicted milliseconds [n], which is what a search holds against its budget."""


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


def proportions(name: str) -> Proportions:
    """Those of a named shape."""
    spec = SHAPES[name]
    first = transformer_layers(spec, "this comparison")[0]
    hidden = spec.hidden_width
    return Proportions(
        len(spec.layers), first.qkv_width / first.heads, first.qkv_width / hidden, first.ffn_width / hidden
    )


def scaled(name: str, budget_ms: float, upper: Upper, like: StudentSpec, widest: int = 768) -> StudentSpec:
    """The widest student in a named shape's proportions that a budget holds; `UserError` where it holds none."""
    kind = proportions(name)
    members = [kind.at(hidden, like) for hidden in range(8 * STEP, widest + 1, STEP)]
    fitting = [spec for spec, ms in zip(members, upper(members), strict=True) if ms <= budget_ms]
    if not fitting:
        raise UserError(
            f"no student in the proportions of {name} takes {budget_ms:g} ms or less: give a larger budget."
        )
    return fitting[-1]
