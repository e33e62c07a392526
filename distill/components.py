"""How many directions a student's feed-forwards make use of: principal components of what their neurons are given."""

import torch
from torch import Tensor, nn

from distill.batches import Encoded
from distill.looking import covariances
from students.model import StudentPreTrainedModel, encoder_of

EXPANDING = "expand"
"""The last part of the name of each projection into a feed-forward's neurons, whatever the type of its layer."""


def principal_components(student: StudentPreTrainedModel, encoded: Encoded, share: float = 0.99) -> dict[str, int]:
    """By name of each feed-forward's first projection, how many principal components hold `share` of the variance of
    what it gives its neurons, before the activation, over the real tokens of all texts.

    W-PCA counts them so (docs/methods.md). What a projection of [.., h] gives is linear in h, so that h x h numbers say
    it, however many neurons there are.
    """
    into = {
        name: module
        for name, module in encoder_of(student).named_modules()
        if isinstance(module, nn.Linear) and name.rpartition(".")[2] == EXPANDING
    }
    found = covariances(student, into, encoded)
    return {name: _components(found[name], module.weight, share) for name, module in into.items()}


@torch.no_grad()
def _components(covariance: Tensor, weight: Tensor, share: float) -> int:
    """Of W x, from the covariance of x [h, h] and W [neurons, h]."""
    values, vectors = torch.linalg.eigh(covariance)
    root = weight.double() @ (vectors * values.clamp(min=0).sqrt())
    variances = torch.linalg.eigvalsh(root.T @ root).clamp(min=0).flip(0)
    held = variances.cumsum(0) / variances.sum().clamp(min=torch.finfo(torch.float64).tiny)
    return int((held < share).sum()) + 1
