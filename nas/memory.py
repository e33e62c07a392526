"""What memory a space's members take when they run, foretold from a few whose files were measured."""

from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import nnls

from devices.workload import Workload
from export.form import Form
from export.lowering import graph_bytes
from export.memory import memory_bytes
from nas.controllers.pool import Codes
from nas.members import Figures, Members
from runs.progress import Progress
from students.spec import StudentSpec

MEASURED = 6
"""Members from the lightest file to the heaviest, and as many by their working bytes."""

LEAST_MARGIN = 1.02

ENOUGH = 6
"""Measured members from which on one can be left out and foretold from the others."""


@dataclass(frozen=True)
class MemoryModel:
    """`margin` times a fixed part, a part of each byte of the file, and one of each working byte.

    A file of `precision` is run on `workload`; `margin` is by how much the worst of the measured members took more than
    a fit to the others said of it, so that few will take more than is foretold.
    """

    fixed_bytes: float
    per_file_byte: float
    per_working_byte: float
    margin: float
    precision: str
    workload: Workload

    def most_bytes(self, members: Members, codes: Codes) -> Figures:
        """Codes [n, genes] → bytes [n] that few of their files will take more than."""
        files, working = features(members, codes, self.precision, self.workload)
        return self.margin * (self.fixed_bytes + self.per_file_byte * files + self.per_working_byte * working)

    def to_json(self) -> dict[str, Any]:
        """Plain numbers; `memory_model_from_json` is the inverse."""
        return {**asdict(self), "workload": self.workload.to_json()}


def memory_model_from_json(value: dict[str, Any]) -> MemoryModel:
    """Read `MemoryModel.to_json`'s form."""
    return MemoryModel(**{**value, "workload": Workload(**value["workload"])})


def features(members: Members, codes: Codes, precision: str, workload: Workload) -> tuple[Figures, Figures]:
    """Codes [n, genes] → bytes of their files [n], and what their largest operators read and write [n]."""
    return members.file_bytes(codes, precision), members.working_bytes(codes, workload)


def measure_memory(members: Members, codes: Codes, form: Form, workload: Workload, progress: Progress) -> MemoryModel:
    """A model of the members' memory, fitted to a few of those in `codes`, whose files are written and run."""
    places = np.linspace(0, len(codes) - 1, MEASURED).round().astype(int)
    orders = [np.argsort(values, kind="stable") for values in features(members, codes, form.precision, workload)]
    chosen = np.unique(np.concatenate([codes[order[places]] for order in orders]), axis=0)
    taken = []
    with progress.task("measuring what memory students take", len(chosen)) as bar:
        for spec in members.specs(chosen):
            taken.append(spec_memory(spec, form, workload))
            bar.advance()
    files, working = features(members, chosen, form.precision, workload)
    coefficients, margin = fit_memory(files, working, np.array(taken, dtype=np.float64))
    return MemoryModel(*coefficients, margin, form.precision, workload)


def fit_memory(files: Figures, working: Figures, taken: Figures) -> tuple[tuple[float, float, float], float]:
    """Bytes of files, of working numbers and of memory taken, each [n] → the parts of a `MemoryModel`, its margin."""
    inputs = np.stack([np.ones(len(files)), files, working], axis=1)
    whole, rows = _nonnegative(inputs, taken), np.arange(len(taken))
    left_out = [_nonnegative(inputs[rows != row], taken[rows != row]) for row in rows] if len(rows) >= ENOUGH else []
    ratios = [taken[row] / (inputs[row] @ fit) for row, fit in zip(rows, left_out or [whole] * len(rows), strict=True)]
    fixed, per_file, per_working = (float(value) for value in whole)
    return (fixed, per_file, per_working), max(LEAST_MARGIN, *ratios)


def _nonnegative(inputs: Figures, wanted: Figures) -> npt.NDArray[np.float64]:
    # Relative errors count, and columns of like size keep the solver exact.
    scale = inputs.max(axis=0)
    scale[scale == 0] = 1.0
    found, _ = nnls(inputs / scale / wanted[:, None], np.ones(len(wanted)))
    solved: npt.NDArray[np.float64] = found / scale
    return solved


@lru_cache(maxsize=1024)
def spec_memory(spec: StudentSpec, form: Form, workload: Workload) -> int:
    """Bytes that a student's file takes to run; its weights are random, for which memory is the same."""
    with TemporaryDirectory(prefix="tailorbird-memory-") as scratch:
        file = Path(scratch) / form.file_name
        file.write_bytes(graph_bytes(spec, form))
        return memory_bytes(file, workload)
