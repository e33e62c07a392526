"""A checkpoint as a module that takes its tensors by position, as converters that trace want it."""

from pathlib import Path

import torch
from torch import nn

from export.runtimes.contract import Inputs
from students.bert import load_model


class Positional(nn.Module):
    """A student that takes ids, mask and token types in the order of `names` and answers with tensors alone."""

    def __init__(self, model: nn.Module, names: tuple[str, ...]) -> None:
        super().__init__()
        self.model, self.names = model, names

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        answer = self.model(**dict(zip(self.names, tensors, strict=True)))
        return tuple(value for value in answer.values() if isinstance(value, torch.Tensor))


def positional(checkpoint: Path, inputs: Inputs) -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    """The checkpoint's module and tensors of the inputs' shapes to trace it with."""
    module = Positional(load_model(checkpoint), tuple(inputs)).eval()
    return module, tuple(torch.from_numpy(value) for value in inputs.values())
