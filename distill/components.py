"""How many directions a student's feed-forwards make use of: principal components of what their neurons are given."""

from functools import partial

import torch
from torch import Tensor, nn

from distill.batches import Encoded, evaluation_batches
from students.model import StudentPreTrainedModel, encoder_of

EXPANDING = "expand"
"""The last part of the name of each projection into a feed-forward's neurons, whatever the type of its layer."""


@torch.no_grad()
def principal_components(student: StudentPreTrainedModel, encoded: Encoded, share: float = 0.99) -> dict[str, int]:
    """By name of each feed-forward's first projection, how many principal components hold `share` of the variance of
    what it gives its neurons, before the activation, over the real tokens of all texts.

    W-PCA counts them so (docs/methods.md). What a projection of [.., h] gives is linear in h, so that h x h numbers say
    it, however many neurons there are.
    """
    encoder = encoder_of(student)
    device = next(encoder.parameters()).device
    into = {
        name: module
        for name, module in encoder.named_modules()
        if isinstance(module, nn.Linear) and name.rpartition(".")[2] == EXPANDING
    }
    moments = {name: torch.zeros(module.in_features + 1, module.in_features + 1) for name, module in into.items()}
    moments = {name: one.to(device, torch.float64) for name, one in moments.items()}
    real: list[Tensor] = []

    def look(name: str, module: nn.Module, given: tuple[Tensor, ...]) -> None:
        rows = given[0][real[0]].double()
        rows = torch.cat([rows, torch.ones_like(rows[:, :1])], dim=1)
        moments[name] += rows.T @ rows

    hooks = [module.register_forward_pre_hook(partial(look, name)) for name, module in into.items()]
    was_training = encoder.training
    encoder.train(False)
    try:
        for indices in evaluation_batches(encoded.lengths):
            batch = {name: tensor.to(device) for name, tensor in encoded.batch(indices).items()}
            real[:] = [batch["attention_mask"].bool()]
            encoder(batch["input_ids"], batch["attention_mask"], batch["token_type_ids"])
    finally:
        encoder.train(was_training)
        for hook in hooks:
            hook.remove()
    return {name: _components(moments[name], module.weight, share) for name, module in into.items()}


def _components(moments: Tensor, weight: Tensor, share: float) -> int:
    """Of W x, from sums of products of x and a last 1 [h + 1, h + 1] and W [neurons, h]."""
    count, mean = moments[-1, -1], moments[-1, :-1] / moments[-1, -1]
    values, vectors = torch.linalg.eigh(moments[:-1, :-1] / count - torch.outer(mean, mean))
    root = weight.double() @ (vectors * values.clamp(min=0).sqrt())
    variances = torch.linalg.eigvalsh(root.T @ root).clamp(min=0).flip(0)
    held = variances.cumsum(0) / variances.sum().clamp(min=torch.finfo(torch.float64).tiny)
    return int((held < share).sum()) + 1
