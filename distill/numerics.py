"""Where training runs and in which number format: the accelerator if there is one, bf16 where the processor has it."""

from math import isfinite

import torch

from runs.errors import UserError


def training_device() -> torch.device:
    """The CUDA device where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def bf16_helps(device: torch.device) -> bool:
    """Whether matrix products are faster in bf16: true where the hardware multiplies it, emulation is slower."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def mixed_precision(device: torch.device) -> torch.autocast:
    """bf16 matrix products where they help, fp32 everywhere else; weights stay fp32."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16_helps(device))


class Diverged(UserError):
    """Training has left the numbers."""


def check_loss(loss: float, step: int) -> None:
    """Raise `Diverged` where a loss is no number."""
    if not isfinite(loss):
        raise Diverged(
            f"the loss was {loss} within the first {step:,} steps, so that nothing more can be learnt: choose a recipe "
            "with a smaller learning_rate or with other losses, or another teacher where it was the teacher's."
        )
