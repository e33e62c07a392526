"""Batches from a shared file, and the rate at which a trainer asks for them. Needs numpy and torch alone."""

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

FIELDS = ("input_ids", "attention_mask", "token_type_ids", "labels")
BATCHES_FILE = "batches.npz"


class Clocked(torch.utils.data.Dataset[dict[str, torch.Tensor]]):
    """Batches by step, each already padded to its longest text; notes when each is asked for."""

    def __init__(self, folder: Path, fields: tuple[str, ...] = FIELDS) -> None:
        stored = np.load(folder / BATCHES_FILE)
        self.count = int(stored["count"])
        self.batches = [{name: torch.from_numpy(stored[f"{name}-{step}"]) for name in fields}
                        for step in range(self.count)]  # fmt: skip
        self.asked: list[float] = []

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, step: int) -> dict[str, torch.Tensor]:
        self.asked.append(time.perf_counter())
        return dict(self.batches[step])


def rate(asked: list[float], sizes: list[int], warmup: int) -> float:
    """Samples a second between the batch after `warmup` and the last one, which is not counted itself."""
    return sum(sizes[warmup : len(asked) - 1]) / (asked[-1] - asked[warmup])


def write_batches(folder: Path, batches: list[dict[str, Any]]) -> None:
    """Store batches for every contender."""
    arrays: dict[str, Any] = {"count": np.array(len(batches))}
    for step, batch in enumerate(batches):
        arrays |= {f"{name}-{step}": np.asarray(batch[name]) for name in FIELDS}
    np.savez(folder / BATCHES_FILE, **arrays)


def report(samples_per_second: float) -> None:
    """What the parent reads: one line of JSON, the last."""
    print(json.dumps({"samples_per_second": samples_per_second}), flush=True)
