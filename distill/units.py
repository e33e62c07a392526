"""The unit in which numbers are learnt: the spread of the labels, so that no scale is too large or too small to learn.

An optimizer's steps are of one size. From a head that starts near 0 they reach labels of 0 to 5 in some hundreds of
steps, and those of 0 to 100 never; and half precision does not tell 2,000 and 2,005 apart. So a model's last layer is
brought to the unit before it learns or teaches, and back to the data's own numbers before it is kept.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from distill.batches import Encoded
from distill.examples import Task


@dataclass(frozen=True)
class Unit:
    """A number of the data is `mean + spread · x`; x is what is learnt."""

    mean: float
    spread: float


def unit_of(task: Task) -> Unit | None:
    """Mean and standard deviation of a regression's training labels; None for tasks that are about no numbers."""
    if task.kind != "regression":
        return None
    labels = np.asarray(task.train.labels, dtype=np.float64)
    return Unit(float(labels.mean()), float(labels.std()))


def learnt_as(task: Task) -> tuple[str, ...]:
    """What is to be named beside all else that decides how a model is taught; nothing where there is no unit."""
    return () if unit_of(task) is None else ("in units of the spread",)


def labels_learnt(encoded: Encoded, unit: Unit | None) -> Encoded:
    """A split whose labels are in the unit, in single precision, which numbers far from 0 would not survive."""
    if unit is None:
        return encoded
    return replace(encoded, labels=((encoded.labels - unit.mean) / unit.spread).astype(np.float32))


def told(answers: Any, unit: Unit | None) -> Any:
    """Answers in the unit (an array) in numbers of the data."""
    return answers if unit is None else np.asarray(answers, dtype=np.float64) * unit.spread + unit.mean


def _last_layer(model: nn.Module) -> nn.Linear:
    """The linear layer that gives a text's one number: the last of that width in the model."""
    return [part for part in model.modules() if isinstance(part, nn.Linear) and part.out_features == 1][-1]


@torch.no_grad()
def answer_in_unit(model: nn.Module, unit: Unit | None) -> None:
    """Have a model that answers in numbers of the data answer in the unit, in place."""
    if unit is not None:
        layer = _last_layer(model)
        layer.weight.div_(unit.spread)
        layer.bias.sub_(unit.mean).div_(unit.spread)


@torch.no_grad()
def answer_in_numbers(model: nn.Module, unit: Unit | None) -> None:
    """The inverse of `answer_in_unit`, in place."""
    if unit is not None:
        layer = _last_layer(model)
        layer.weight.mul_(unit.spread)
        layer.bias.mul_(unit.spread).add_(unit.mean)
