"""Where a training that was killed goes on: checkpoints that are whole, told from half-written and damaged ones."""

import shutil
from collections.abc import Callable
from pathlib import Path

from distill.curve import forget, is_readable
from runs.seal import is_sealed

COMPLETE = "complete"
"""Seals a checkpoint folder whose files are all there; the trainer writes them one by one."""


def step_of(folder: Path) -> int:
    """Steps done before a checkpoint was made."""
    return int(folder.name.rpartition("-")[2])


def newest_checkpoint(folder: Path, say: Callable[[str], None] = lambda line: None) -> Path | None:
    """The last checkpoint that is whole; half-written and damaged ones are removed, the latter with a word to `say`.

    None, with nothing left, where the learning curve beside them is damaged.
    """
    found = sorted(folder.glob("checkpoint-*"), key=step_of)
    damaged = [path for path in found if (path / COMPLETE).exists() and not is_sealed(path, COMPLETE)]
    whole = [path for path in found if path not in damaged and (path / COMPLETE).exists()]
    if found and not is_readable(folder):
        damaged, whole = found, []
    for path in found:
        if path not in whole:
            shutil.rmtree(path)
    if damaged:
        begin = f"goes on from step {step_of(whole[-1])}" if whole else "begins anew"
        say(f"what was stored of this training in {folder} is damaged: it {begin}")
    if not whole:
        forget(folder)
    return whole[-1] if whole else None
