"""The learning curve of a run: how the student did on validation, which of its states is kept, and when to stop.

Points are taken where checkpoints are, so that a run that is killed and goes on has the same curve and keeps the same
state as one that was left alone.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from runs.errors import UserError
from runs.files import read_json, write_json_atomic

CURVE_FILE = "curve.json"
BEST_FILE = "best.safetensors"


@dataclass(frozen=True)
class Point:
    """After `step` steps: mean training loss since the last point; score and divergence from the teacher on
    validation."""

    step: int
    loss: float
    score: float
    divergence: float

    @property
    def worth(self) -> tuple[float, float]:
        """The greater the better: the score, and among equals the nearer to the teacher."""
        return self.score, -self.divergence


@dataclass
class Curve:
    """The points so far in `folder`, and the weights of the best of them.

    `judge` gives score and divergence of the student as it is. A run ends early where the best point lies `patience`
    points back; None lets it run on.
    """

    folder: Path
    student: nn.Module
    judge: Callable[[], tuple[float, float]]
    patience: int | None = None
    points: list[Point] = field(default_factory=list)

    def resume(self, step: int) -> bool:
        """Take up the points that an earlier start had taken until `step`; whether that run has ended there early."""
        path = self.folder / CURVE_FILE
        if path.is_file():
            stored = [Point(**one) for one in read_json(path, "learning curve")]
            self.points = [point for point in stored if point.step <= step]
        return self.has_ended

    @property
    def has_ended(self) -> bool:
        """Whether the best point lies `patience` points back."""
        later = len(self.points) - 1 - self.points.index(self.best) if self.points else 0
        return self.patience is not None and later >= self.patience

    @property
    def loss(self) -> float:
        """Mean training loss over all steps."""
        steps = np.diff([0, *(point.step for point in self.points)])
        return float(np.average([point.loss for point in self.points], weights=steps))

    @property
    def best(self) -> Point:
        """The best point, the first of equals."""
        return max(self.points, key=lambda point: point.worth)

    def add(self, step: int, loss: float) -> None:
        """Take a point."""
        score, divergence = self.judge()
        point = Point(step, loss, score, divergence)
        if not self.points or point.worth > self.best.worth:
            self._keep()
        self.points.append(point)
        write_json_atomic(self.folder / CURVE_FILE, self.to_json())

    def _keep(self) -> None:
        part = self.folder / f".{BEST_FILE}.part"
        save_file({name: tensor.contiguous().cpu() for name, tensor in _state(self.student).items()}, part)
        part.replace(self.folder / BEST_FILE)

    def restore(self) -> None:
        """Give the student the weights of the best point."""
        self.student.load_state_dict(load_file(self.folder / BEST_FILE), strict=False)

    def to_json(self) -> list[dict[str, Any]]:
        """Plain numbers, point by point."""
        return [asdict(point) for point in self.points]


def is_readable(folder: Path) -> bool:
    """Whether the curve that an earlier start left in `folder`, and its best state, can be read; so is none at all."""
    if not (folder / CURVE_FILE).exists():
        return True
    try:
        [Point(**one) for one in read_json(folder / CURVE_FILE, "learning curve")]
        with safe_open(folder / BEST_FILE, framework="pt") as best:
            return bool(best.keys())
    except (UserError, OSError, TypeError, SafetensorError):
        return False


def forget(folder: Path) -> None:
    """Remove the curve in `folder` and its best state."""
    for name in (CURVE_FILE, BEST_FILE):
        (folder / name).unlink(missing_ok=True)


def _state(module: nn.Module) -> dict[str, torch.Tensor]:
    """Weights by name, those that several names share once."""
    return dict(module.named_parameters()) | dict(module.named_buffers())
