"""How alike a layer's heads are, by linear centred kernel alignment (CKA) of what they give; which of them differ."""

import torch
from torch import Tensor

from distill.batches import Encoded
from distill.looking import covariances
from students.leading import ATTENDING
from students.model import StudentPreTrainedModel, encoder_of


def distinct_heads(
    student: StudentPreTrainedModel, encoded: Encoded, threshold: float = 0.9
) -> tuple[tuple[int, ...], ...]:
    """Of each layer, the heads that are not like an earlier one of them; none of a layer without attention.

    Heads are alike whose alignment is above `threshold`, over the real tokens of all texts together.
    """
    layers = encoder_of(student).layers
    attending = {n: layer for n, layer in enumerate(layers) if isinstance(layer, ATTENDING)}
    given = covariances(student, {str(n): layer.output for n, layer in attending.items()}, encoded)
    alike = {n: alignment(given[str(n)], layer.heads) for n, layer in attending.items()}
    return tuple(_distinct(alike[n], threshold) if n in alike else () for n in range(len(layers)))


def alignment(covariance: Tensor, heads: int) -> Tensor:
    """Covariance [heads * w, heads * w] of what heads give → linear CKA of each two of them, [heads, heads].

    ‖XᵀY‖² / (‖XᵀX‖ ‖YᵀY‖) of centred X and Y (Kornblith et al. 2019), 0 for a head that gives nothing.
    """
    width = len(covariance) // heads
    blocks = covariance.unflatten(0, (heads, width)).unflatten(2, (heads, width))
    squares = blocks.square().sum(dim=(1, 3))
    own = squares.diagonal().sqrt()
    found: Tensor = squares / (own[:, None] * own).clamp(min=torch.finfo(squares.dtype).tiny)
    return found


def _distinct(likeness: Tensor, threshold: float) -> tuple[int, ...]:
    kept: list[int] = []
    for head in range(len(likeness)):
        if not (likeness[head, kept] > threshold).any():
            kept.append(head)
    return tuple(kept)
