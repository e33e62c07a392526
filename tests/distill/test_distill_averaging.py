"""The moving average of weights: its arithmetic, and that long and short runs end with it alike."""

import pytest
from torch import nn

from distill.averaging import Average, averaged


def test_the_average_is_what_is_said_of_it() -> None:
    model, wanted = nn.Linear(1, 1, bias=False), 0.0
    model.weight.data.fill_(0.0)
    average = Average(model, 0.5)
    for step in range(1, 30):
        model.weight.data.fill_(float(step))
        average.update(step)
        kept = min(0.5, (step + 1) / (step + 10))
        wanted = kept * wanted + (1 - kept) * step
    with averaged(average):
        assert model.weight.item() == pytest.approx(wanted, rel=1e-5) and wanted < 28.1
    assert model.weight.item() == 29.0


def test_weights_that_are_not_trained_are_left_alone() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)).requires_grad_(False)
    model[1].requires_grad_(True)
    assert len(list(Average(model, 0.9).buffers())) == 2
