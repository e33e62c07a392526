"""The processes that torchrun started for one command: the first does the command, the others train with it.

The first process runs as if it were alone: it alone reads, writes, judges and speaks. Wherever it comes to train, it
tells the others what, and they learn from their share of every batch; in between they wait. All run on machines that
share the folders of the run. In Python: `with assembled() as us: distil(…) if us.rank == 0 else follow()`.
"""

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from runs.errors import UserError

Value = TypeVar("Value")

PATIENCE = timedelta(days=30)
"""The first process may read and judge for hours while the others wait; a dead one is seen by its closed connection."""


class Team:
    """One process's view of all: `rank` is its number and `size` theirs. By itself it stands for a process alone."""

    def __init__(self, rank: int = 0, size: int = 1, messages: Any = None) -> None:
        self.rank = rank
        self.size = size
        self.training = False
        """Whether the others are at work with the first, and not waiting for word from it."""
        self._messages = messages

    def shared(self, value: Value) -> Value:
        """The first process's value, in all of them."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0, group=self._messages, device=torch.device("cpu"))
        return box[0]

    def total(self, number: float) -> float:
        """The sum of all processes' numbers, in all of them."""
        if self.size == 1:
            return number
        found = torch.tensor(number, dtype=torch.float64)
        dist.all_reduce(found, group=self._messages)
        return float(found)

    def wait(self) -> None:
        """Until all have come here."""
        if self.size > 1:
            dist.barrier(group=self._messages)

    def disband(self) -> None:
        """Leave the others. A group that something still holds keeps threads, which may end an exiting Python badly."""
        self._messages = None
        gc.collect()
        dist.destroy_process_group()


_current = Team()


def team() -> Team:
    """The team that this process is in."""
    return _current


@contextmanager
def assembled() -> Iterator[Team]:
    """Meet the other processes that torchrun started, and be one team with them until the block ends.

    Where the first process's block ends outside of training, the others are told that nothing more will come (None in
    the place of work). Raises `UserError` where there are fewer GPUs than processes.
    """
    global _current
    backend = "gloo"
    if torch.cuda.is_available():
        backend, place = "nccl", int(os.environ["LOCAL_RANK"])
        if place >= torch.cuda.device_count():
            raise UserError(f"torchrun starts more processes than the {torch.cuda.device_count()} GPUs here: one each.")
        torch.cuda.set_device(place)
    dist.init_process_group(backend, timeout=PATIENCE)
    # Words travel by gloo: waiting long for them keeps no GPU busy.
    _current = Team(
        dist.get_rank(),
        dist.get_world_size(),
        dist.group.WORLD if backend == "gloo" else dist.new_group(backend="gloo", timeout=PATIENCE),
    )
    try:
        yield _current
    finally:
        # In the middle of a step nobody listens; the others end when this process is gone.
        if not _current.training:
            if _current.rank == 0:
                _current.shared(None)
            _current.disband()
        _current = Team()
