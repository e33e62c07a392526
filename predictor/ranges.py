"""Which students and workloads lie inside what was measured, so that a guess can be told from a prediction."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from devices.workload import Workload
from students import counts
from students.table import ACTIVATIONS, Column, SpecTable

SLACK = 1.1
"""A tenth beyond the largest or below the smallest measured number still counts as inside."""


def _extents(table: SpecTable) -> dict[str, tuple[Column, Column]]:
    """Smallest and largest value [n] of each number in a row; a layer's numbers over the layers it has."""
    present = table.present > 0
    extents = {}
    for name in ("heads", "qkv_width", "ffn_width"):
        values = getattr(table, name)
        extents[name] = (np.where(present, values, np.inf).min(axis=1), values.max(axis=1))
    weights = counts.layer_parameters(table.hidden_width[:, None] * table.present, table.qkv_width, table.ffn_width)
    singles = {
        "layers": table.present.sum(axis=1),
        # Deep ones and wide ones may have been measured without any that is both.
        "layer_weights": weights.sum(axis=1),
        "hidden_width": table.hidden_width,
        "embedding_width": table.embedding_width,
        "factorised": (table.embedding_width != table.hidden_width).astype(np.float64),
        "answers": (table.labels > 0).astype(np.float64),
    }
    for index, activation in enumerate(ACTIVATIONS):
        singles[activation] = ((table.activation == index) & present).any(axis=1).astype(np.float64)
    return extents | {name: (value, value) for name, value in singles.items()}


@dataclass(frozen=True)
class Ranges:
    """Smallest and largest measured value of each number of a whole student and of its workload."""

    bounds: Mapping[str, tuple[float, float]]

    @classmethod
    def of(cls, table: SpecTable, workloads: tuple[Workload, ...]) -> "Ranges":
        """What these whole students on these workloads span."""
        bounds = {name: (float(low.min()), float(high.max())) for name, (low, high) in _extents(table).items()}
        for name in ("batch_size", "sequence_length"):
            values = [float(getattr(workload, name)) for workload in workloads]
            bounds[name] = (min(values), max(values))
        return cls(bounds)

    def hold(self, table: SpecTable, workload: Workload) -> npt.NDArray[np.bool_]:
        """Whether each student [n] lies inside on every number, give or take `SLACK`."""
        inside: npt.NDArray[np.bool_] = table.unknown == ""
        for name in ("batch_size", "sequence_length"):
            low, high = self.bounds[name]
            inside &= low / SLACK <= getattr(workload, name) <= high * SLACK
        for name, (smallest, largest) in _extents(table).items():
            low, high = self.bounds[name]
            inside &= (smallest >= low / SLACK) & (largest <= high * SLACK)
        return inside
