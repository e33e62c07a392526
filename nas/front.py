"""The front of a search: candidates that no other beats in reward, latency and weights, each as a spec to distil."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nas.controllers.nsga2 import ranks
from nas.members import Members
from runs.files import folder_atomic, write_json_atomic

FRONT = "front"


def front_of(trials: Sequence[dict[str, Any]], members: Members) -> list[dict[str, Any]]:
    """Those of a search's trials that none beats, the fastest first."""
    codes = np.array([trial["codes"] for trial in trials], dtype=np.int64)
    latency = np.array([trial["details"]["ms"] for trial in trials])
    objectives = np.stack([[-trial["reward"] for trial in trials], latency, members.parameters(codes)], axis=1)
    unbeaten = np.flatnonzero(ranks(objectives) == 0)
    return [trials[n] for n in unbeaten[np.argsort(latency[unbeaten], kind="stable")]]


def write_front(folder: Path, front: Sequence[dict[str, Any]], members: Members) -> None:
    """`trial-N.json` in `folder` for each trial on the front: a spec that `distill-student --student` takes."""
    codes = np.array([trial["codes"] for trial in front], dtype=np.int64)
    with folder_atomic(folder) as scratch:
        for trial, spec in zip(front, members.specs(codes), strict=True):
            write_json_atomic(scratch / f"trial-{trial['number']}.json", spec.to_json())
