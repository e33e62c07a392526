"""Rules that keep a method's candidates to part of a space, by the shapes that its paper found good."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from nas.controllers.pool import Codes
from runs.registry import Registry
from students.space import SearchSpace

Rule = Callable[[SearchSpace, Codes], npt.NDArray[np.bool_]]

RULES: Registry[Rule] = Registry("rule")
"""Name → a function of a space and codes [n, genes] to which of them may be tried [n]."""

FFN_SHARES, QKV_SHARES = (1.6, 1.9), (0.7, 1.0)
"""Of the hidden width, ends included."""


@RULES.register("none")
def everything(space: SearchSpace, codes: Codes) -> npt.NDArray[np.bool_]:
    """The whole space."""
    return np.ones(len(codes), dtype=np.bool_)


@RULES.register("fast-development")
def fast_development(space: SearchSpace, codes: Codes) -> npt.NDArray[np.bool_]:
    """AutoTinyBERT's rule (docs/methods.md): feed-forwards 1.6–1.9 and queries 0.7–1 times as wide as the hidden state.

    Every layer has to keep it.
    """
    hidden = np.array(space.choices.hidden)[codes[:, 1], None]
    ffn = np.array(space.choices.ffn)[space.layer_view(codes)[..., 2]] / hidden
    qkv = space.query_widths(codes) / hidden
    kept = (ffn >= FFN_SHARES[0]) & (ffn <= FFN_SHARES[1]) & (qkv >= QKV_SHARES[0]) & (qkv <= QKV_SHARES[1])
    found: npt.NDArray[np.bool_] = (kept | ~space.used(codes)).all(axis=1)
    return found
