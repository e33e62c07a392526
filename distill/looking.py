"""What linear layers of a model are given over many texts, as means and covariances of their inputs."""

from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor, nn

from distill.batches import Encoded, evaluation_batches
from students.model import StudentPreTrainedModel, encoder_of


@torch.no_grad()
def covariances(
    student: StudentPreTrainedModel, modules: Mapping[str, nn.Linear], encoded: Encoded
) -> dict[str, Tensor]:
    """By name, the covariance [w, w] of what each module is given, w channels wide, over the real tokens of all
    texts; in fp64. The student is run in eval mode, and left in the mode it was in."""
    encoder = encoder_of(student)
    device = next(iter(modules.values())).weight.device if modules else torch.device("cpu")
    sums = {
        name: torch.zeros(module.in_features + 1, module.in_features + 1, dtype=torch.float64, device=device)
        for name, module in modules.items()
    }
    real: list[Tensor] = []

    def look(name: str, module: nn.Module, given: tuple[Tensor, ...]) -> None:
        rows = given[0][real[0]].double()
        rows = torch.cat([rows, torch.ones_like(rows[:, :1])], dim=1)
        sums[name] += rows.T @ rows

    hooks = [module.register_forward_pre_hook(partial(look, name)) for name, module in modules.items()]
    was_training = encoder.training
    encoder.train(False)
    try:
        for indices in evaluation_batches(encoded.lengths):
            batch = {name: tensor.to(device) for name, tensor in encoded.batch(indices).items()}
            real[:] = [batch["attention_mask"].bool()]
            with torch.autocast(device.type, enabled=False):
                encoder(batch["input_ids"], batch["attention_mask"], batch["token_type_ids"])
    finally:
        encoder.train(was_training)
        for hook in hooks:
            hook.remove()
    return {name: _covariance(one) for name, one in sums.items()}


def _covariance(sums: Tensor) -> Tensor:
    """From sums of products of x and a last 1, [w + 1, w + 1]."""
    count, mean = sums[-1, -1], sums[-1, :-1] / sums[-1, -1]
    return sums[:-1, :-1] / count - torch.outer(mean, mean)
