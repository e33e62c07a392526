"""A predictor made ready for one workload and one list of blocks: a student's milliseconds are then a few look-ups."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from devices.affinity import usable_cores
from devices.workload import Workload
from predictor.features import SPLITS, tree_columns, whole_terms
from predictor.latency import LatencyPredictor
from predictor.physics import Matrix, Vector
from predictor.regressor import LatencyRegressor
from predictor.terms import block_terms
from students.spec import Block
from students.table import ABSENT, Numbers, sums_of_rows

CHUNK = 8192
"""Students scored at once: few enough that what is known of them stays in a core's cache."""

TOTALLED = tuple(
    dict.fromkeys(("product_weights", *(name for pair in SPLITS.values() for name in pair if name is not None)))
)
"""The terms whose totals `whole_terms` and `tree_columns` ask for."""

COLUMNS = {name: column for column, name in enumerate(TOTALLED, start=1)}
"""Where their totals are kept; the law's own total comes first."""


@dataclass(frozen=True, eq=False)
class CompiledPredictor:
    """`LatencyPredictor` for students made of known blocks on one workload, equal to it up to rounding.

    The law adds up over blocks, so each block's share of it is one number, and so is each total that trees split on.
    """

    regressor: LatencyRegressor
    workload: Workload
    shares: Matrix
    """Of each block the law's milliseconds and `TOTALLED`, [blocks + 1, f]; the last row is 0, for `ABSENT`."""
    whole_ms: Vector
    """Milliseconds of each of the law's `WHOLE_TERMS`."""

    @classmethod
    def of(cls, predictor: LatencyPredictor, blocks: Sequence[Block], workload: Workload) -> "CompiledPredictor":
        """Describe each block once; a `UserError` for threads or a precision that were not measured."""
        regressor = predictor.model(workload).regressor
        terms, names = block_terms(blocks, workload)
        law, whole_ms = np.split(regressor.law_.coefficients, [len(names)])
        shares = np.zeros((len(blocks) + 1, 1 + len(TOTALLED)))
        shares[:ABSENT, 0] = terms @ law
        shares[:ABSENT, 1:] = terms[:, [names.index(name) for name in TOTALLED]]
        # Each thread of `in_chunks` asks for trees itself.
        regressor.law_.booster.set_param({"nthread": 1})
        return cls(regressor, workload, shares, whole_ms)

    def totals(self, index: Numbers) -> Matrix:
        """Block numbers [n, width], as in `BlockTable.index` → the sums of `shares` over each row's blocks [n, f]."""
        return sums_of_rows(self.shares, index)

    def finish(self, totals: Matrix) -> Vector:
        """Sums of `shares` [n, f] → milliseconds [n]: the law's, corrected by the trees."""
        law = self.regressor.law_
        linear = np.maximum(totals[:, 0] + whole_terms(totals, self.workload, COLUMNS) @ self.whole_ms, law.floor)
        seen = np.empty((len(totals), 3 + len(SPLITS)), dtype=np.float32)
        seen[:, 0] = np.log(linear)
        seen[:, 1:] = tree_columns(totals, self.workload, COLUMNS)
        milliseconds: Vector = linear * np.exp(self.regressor.trust_ * law.booster.inplace_predict(seen))
        return milliseconds

    def score(self, index: Numbers) -> Vector:
        """Block numbers [n, width] → milliseconds [n], in this thread."""
        return self.finish(self.totals(index))

    def predict(self, index: Numbers) -> Vector:
        """Block numbers [n, width] → milliseconds [n], on all cores."""
        return in_chunks(lambda rows: self.score(index[rows]), len(index))

    def margin(self, coverage: float = 0.9) -> float:
        """How far, as a factor, about `coverage` of fresh students lie from their prediction at most."""
        return self.regressor.margin(coverage)


def in_chunks(score: Callable[[slice], Vector], count: int, threads: int | None = None) -> Vector:
    """`score` of `CHUNK` rows at a time [count], in as many threads at once (None: one a core)."""
    found = np.empty(count)

    def fill(start: int) -> None:
        rows = slice(start, min(start + CHUNK, count))
        found[rows] = score(rows)

    with ThreadPoolExecutor(threads or len(usable_cores()) or os.cpu_count()) as pool:
        for _ in pool.map(fill, range(0, count, CHUNK)):
            pass
    return found
