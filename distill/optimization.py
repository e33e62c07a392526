"""AdamW and its schedule, the same for long and for short runs."""

import torch
from torch import nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

from distill.recipe import Optimization


def _groups(module: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    # Biases, layer norms and embeddings carry no decay: rows of words that a batch lacks would only shrink.
    decayed: list[nn.Parameter] = []
    plain: list[nn.Parameter] = []
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            (decayed if parameter.ndim > 1 and "embeddings" not in name else plain).append(parameter)
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}]


def make_optimizer(module: nn.Module, settings: Optimization) -> AdamW:
    """Fused AdamW over what requires a gradient."""
    return AdamW(_groups(module, settings.weight_decay), lr=settings.learning_rate, fused=True)


def make_schedule(optimizer: torch.optim.Optimizer, settings: Optimization, steps: int) -> LambdaLR:
    """Linear warm-up from 0, then linear decay to 0 at `steps`."""
    rising = max(1, round(steps * settings.warmup))

    def factor(step: int) -> float:
        return min((step + 1) / rising, max(0.0, (steps - step) / max(1, steps - rising + 1)))

    return LambdaLR(optimizer, factor)
