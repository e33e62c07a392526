"""Importance of a teacher's channels, heads and neurons as a file."""

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from students.importance import Importance, Point

PARTS = ("score", "mean", "covariance", "count")


def save_importance(path: Path, found: Importance) -> None:
    """Write all points of `found`, `name|part` by `name|part`."""
    tensors = {
        f"{name}|{part}": torch.as_tensor(getattr(point, part)).contiguous()
        for name, point in found.points.items()
        for part in PARTS
    }
    save_file(tensors, path)


def load_importance(path: Path) -> Importance:
    """What `save_importance` wrote."""
    tensors = load_file(path)
    names = dict.fromkeys(key.partition("|")[0] for key in tensors)
    return Importance(
        {
            name: Point(
                tensors[f"{name}|score"],
                tensors[f"{name}|mean"],
                tensors[f"{name}|covariance"],
                int(tensors[f"{name}|count"]),
            )
            for name in names
        }
    )
