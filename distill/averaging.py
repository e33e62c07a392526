"""A moving average of a student's weights over the last steps: on little data it answers better than the last step."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

EARLY = 10
"""The average reaches back over less at first: after n steps over about n / 10 of them."""


class Average(nn.Module):
    """The average of a model's trained weights as buffers, so that checkpoints hold them.

    At each step it becomes `decay` × average + (1 - decay) × weights, with (n + 1) / (n + 10) in the place of a greater
    `decay` after n steps.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        super().__init__()
        self._model = [model]
        self._decay = decay
        for number, weight in enumerate(self._weights()):
            self.register_buffer(str(number), weight.detach().clone())

    def _weights(self) -> list[nn.Parameter]:
        return [weight for weight in self._model[0].parameters() if weight.requires_grad]

    def _averages(self) -> list[Tensor]:
        return list(self.buffers())

    @torch.no_grad()
    def update(self, steps: int) -> None:
        """Take in the weights as they are after so many steps."""
        share = 1.0 - min(self._decay, (steps + 1) / (steps + EARLY))
        torch._foreach_lerp_(self._averages(), [weight.detach() for weight in self._weights()], share)

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange the average and the model's weights."""
        for average, weight in zip(self._averages(), self._weights(), strict=True):
            kept = weight.detach().clone()
            weight.copy_(average)
            average.copy_(kept)


@contextmanager
def averaged(average: Average | None) -> Iterator[None]:
    """While it lasts the model has its average weights, where there is one."""
    if average is not None:
        average.swap()
    try:
        yield
    finally:
        if average is not None:
            average.swap()
