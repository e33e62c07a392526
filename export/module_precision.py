"""How a PyTorch module is held and computed with in each precision."""

import warnings
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from devices.workload import Precision
from runs.registry import Registry

MODULE_PRECISIONS: Registry[Callable[[nn.Module], nn.Module]] = Registry("precision of modules")
"""Precision → a function that makes a module in eval mode, which it uses up, into one of that precision."""

FLOATS: dict[Precision, torch.dtype] = {"bf16": torch.bfloat16, "fp16": torch.float16}
"""Precisions in which all numbers are, not only the products of large weights."""


def in_precision(
    module: nn.Module, inputs: Sequence[Tensor], precision: Precision
) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """A module and what it is called with in `precision`; the given module is used up. Ids stay as they are."""
    number = FLOATS.get(precision, torch.float32)
    cast = tuple(given.to(number) if given.is_floating_point() else given for given in inputs)
    return MODULE_PRECISIONS[precision](module), cast


@MODULE_PRECISIONS.register("fp32")
def _as_it_is(module: nn.Module) -> nn.Module:
    return module


@MODULE_PRECISIONS.register("bf16")
def _brain_floats(module: nn.Module) -> nn.Module:
    return module.to(FLOATS["bf16"])


@MODULE_PRECISIONS.register("fp16")
def _halves(module: nn.Module) -> nn.Module:
    return module.to(FLOATS["fp16"])


@MODULE_PRECISIONS.register("int8")
def _dynamic_bytes(module: nn.Module) -> nn.Module:
    """Linear layers rounded to int8 with a scale per output, what they multiply as it comes; on processors alone."""
    from torch.ao.quantization import per_channel_dynamic_qconfig, quantize_dynamic

    with warnings.catch_warnings():
        # It is to move to a package of its own, and works.
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", UserWarning)
        rounded: nn.Module = quantize_dynamic(module, {nn.Linear: per_channel_dynamic_qconfig}, inplace=True)
    return rounded
