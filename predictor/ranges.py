"""Which students and workloads lie inside what was measured, so that a guess can be told from a prediction."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import singledispatch

import numpy as np
import numpy.typing as npt

from devices.workload import Workload
from predictor.features import used_block_terms, used_blocks
from predictor.observation import Rows, per_workload
from predictor.terms import BLOCK_TERMS, Matrix
from students.layer_types import BottleneckLayer, TransformerLayer
from students.spec import Block, EmbeddingBlock, LayerBlock
from students.table import BlockTable

SLACK = 1.1
"""A tenth beyond the largest or below the smallest measured number still counts as inside."""

Bounds = Mapping[str, tuple[float, float]]


@singledispatch
def block_numbers(block: Block) -> dict[str, float]:
    """What must have been measured for a block to be known: its kind, which the names begin with, and its numbers.

    How many words a table has or labels a head hardly matters to the time, unless a language model scores them all.
    """
    return {f"{type(block).__name__}.{name}": value for name, value in asdict(block).items() if name != "labels"}


@block_numbers.register
def _(block: EmbeddingBlock) -> dict[str, float]:
    kind = "factorised embedding" if block.factorised else "embedding"
    return {f"{kind}.embedding_width": block.embedding_width, f"{kind}.hidden_width": block.hidden_width}


@block_numbers.register
def _(block: LayerBlock) -> dict[str, float]:
    kind = f"{block.layer.type} for the first token" if block.first_only else block.layer.type
    numbers = {name: value for name, value in asdict(block.layer).items() if name != "activation"}
    if isinstance(block.layer, TransformerLayer | BottleneckLayer):
        numbers["head_width"] = block.layer.qkv_width // block.layer.heads
    named = {f"{kind}.{name}": value for name, value in {"hidden_width": block.hidden_width, **numbers}.items()}
    return {f"activation {block.layer.activation}": 1, **named}


COUNTED = ("layers", "heads")
"""Totals that are bound from below as well: a student without a head is unlike any with one."""


def _totals(table: BlockTable, workload: Workload) -> Matrix:
    """Layers, heads, weights and MFLOPs of each row [n, 4]: deep ones and wide ones may have been measured without any
    that is both, and long texts without wide students."""
    terms = used_block_terms(table, workload)
    layers = [isinstance(block, LayerBlock) for block in table.blocks]
    heads = [not isinstance(block, LayerBlock | EmbeddingBlock) for block in table.blocks]
    sums = {name: terms[:, place] for place, name in enumerate(BLOCK_TERMS)}
    flops = sums["product_mflops"] + sums["attention_mflops"]
    return table.total(np.column_stack([layers, heads, sums["product_weights"], flops]))


TOTALS = (*COUNTED, "weights", "mflops")


@dataclass(frozen=True)
class Ranges:
    """Smallest and largest measured value of each number of a block, of a whole student and of a workload."""

    bounds: Bounds

    @classmethod
    def of(cls, rows: Rows) -> "Ranges":
        """What these rows span: totals and workloads of whole students, blocks of them and of stacks."""
        bounds: dict[str, tuple[float, float]] = {}
        for block in rows.table.blocks:
            for name, value in block_numbers(block).items():
                low, high = bounds.get(name, (value, value))
                bounds[name] = (min(low, value), max(high, value))
        totals = per_workload(rows, _totals)[rows.whole]
        for name, column in zip(TOTALS, totals.T, strict=True):
            bounds[name] = (float(column.min()) if name in COUNTED else 0.0, float(column.max()))
        whole = [workload for workload, one in zip(rows.workloads, rows.whole, strict=True) if one]
        return cls(bounds | _workload_bounds(whole))

    def on(self, workloads: list[Workload]) -> "Ranges":
        """The same students on the lengths and batch sizes of these workloads."""
        return Ranges({**self.bounds, **_workload_bounds(workloads)})

    def hold(self, table: BlockTable, workload: Workload) -> npt.NDArray[np.bool_]:
        """Whether each student [n] lies inside on every number, give or take `SLACK`."""
        asked = {"batch_size": workload.batch_size, "sequence_length": workload.sequence_length}
        if not all(self._inside(name, value) for name, value in asked.items()):
            return np.zeros(len(table), dtype=bool)
        known = np.zeros(len(table.blocks), dtype=bool)
        for number in used_blocks(table):
            known[number] = self._knows(table.blocks[number])
        inside = table.all(known)
        for name, column in zip(TOTALS, _totals(table, workload).T, strict=True):
            low, high = self.bounds[name]
            inside &= (column >= low / SLACK) & (column <= high * SLACK)
        return inside

    def _knows(self, block: Block) -> bool:
        return all(self._inside(name, value) for name, value in block_numbers(block).items())

    def _inside(self, name: str, value: float) -> bool:
        low, high = self.bounds.get(name, (np.inf, -np.inf))
        return low / SLACK <= value <= high * SLACK


def _workload_bounds(workloads: list[Workload]) -> dict[str, tuple[float, float]]:
    values = {name: [float(getattr(one, name)) for one in workloads] for name in ("batch_size", "sequence_length")}
    return {name: (min(found), max(found)) for name, found in values.items()}
