"""A search of seconds over a space that is given: a replayed device, a tiny BERT, and few steps of everything."""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from tiny_kinds import write_bert
from tiny_world import WORKLOAD, make_profile

from distill.recipe import Optimization
from nas.schedule import EFFORTS, Effort
from nas.search import SearchSettings
from runs.progress import Progress

QUIET = Progress(quiet=True)
TINY = Effort(
    "tiny", episodes=1, candidates=3, steps=4, subset=1.0, finalists=2, distilled=1, final_work=20, supernet_steps=4,
    pool_size=200, rate=3.0,
)  # fmt: skip
TRAINING = Optimization(learning_rate=3e-3, epochs=12, minimum_steps=1, batch_size=16)

SPACE = """\
layers: [1, 2]
hidden: [16, 24]
activation: [gelu]
alike: false
heads: [1, 2, 4]
qkv: [6 per head]
ffn: [16, 32, 48]
"""
"""Parts of the teacher, so that a supernet of theirs is about as large."""


@cache
def _home() -> "TemporaryDirectory[str]":
    """One home for all searches of a process: a teacher that was fitted to the same data is found there again."""
    return TemporaryDirectory(prefix="tailorbird-home-")


def tiny_search(root: Path, patch: pytest.MonkeyPatch, space: str, earlier_tokens: int = 0) -> SearchSettings:
    """Settings of a search in `root`, for any data; with earlier tokens for texts to write on."""
    patch.setenv("TAILORBIRD_HOME", _home().name)
    patch.setitem(EFFORTS._entries, TINY.name, TINY)
    patch.setattr(Effort, "fitting", lambda self, kind: TRAINING)
    # Files are timed for real, but nothing hangs on how fast they are.
    patch.setattr("nas.device.PROCESSES", 1)
    members = root / "space.yaml"
    members.write_text(space)
    return SearchSettings(
        budgets_ms=(1.5,),
        workload=WORKLOAD,
        target=f"replay:{make_profile(root / 'profile', members, earlier_tokens=earlier_tokens)}",
        teacher=str(write_bert(root / "teacher")),
        space=str(members),
        effort=TINY.name,
        output=root / "run",
    )
