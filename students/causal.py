"""What makes a student causal: which token stands where, and who may look at whom, with and without a cache."""

import torch
from torch import Tensor

from students.spec import BottleneckLayer, StudentSpec, TransformerLayer

BLOCKED_SCORE = -1e4
"""Added to the scores of tokens that come later; like `layers.MASKED_SCORE`, a weight of exactly 0 and finite in half
precision."""


def attending_layers(spec: StudentSpec) -> list[tuple[int, TransformerLayer | BottleneckLayer]]:
    """The layers with attention, which a cache is for, and their places among all layers."""
    layers = enumerate(spec.layers)
    return [(place, layer) for place, layer in layers if isinstance(layer, TransformerLayer | BottleneckLayer)]


def token_positions(attention_mask: Tensor, length: int) -> Tensor:
    """int64 [B, T] of 1 and 0 over all tokens so far → the positions [B, `length`] of the last ones.

    Real tokens count up from 0 wherever the padding stands, so that a text has the same answers padded on either side.
    """
    places: Tensor = (attention_mask.long().cumsum(dim=1) - 1).clamp(min=0)
    return places[:, -length:]


def later_mask(total: int, length: int, like: Tensor) -> Tensor:
    """[`length`, `total`] to add to the scores of the last `length` of `total` tokens: none sees a later one."""
    place = torch.arange(total, device=like.device)
    return (place[None, :] > place[total - length :, None]).to(like.dtype) * BLOCKED_SCORE
