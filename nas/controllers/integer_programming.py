"""The exact optimum of an additive model: which parts to keep so that they lose least within the budget."""

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import Bounds, LinearConstraint, milp

from nas.additive import Additive, Skeleton, largest
from nas.controllers.contract import CONTROLLERS, Codes, Controller, Problem
from nas.controllers.pool import Pool, draw_pool

ROUNDS = 8
"""How often the milliseconds that parts may add up to are corrected by what the predictor says of the whole."""

CLOSE = 0.98
"""Share of the budget from which on nothing is corrected."""

Figures = npt.NDArray[np.float64]


@CONTROLLERS.register("integer-programming")
class IntegerProgrammingController(Controller):
    """Proposes the members whose parts lose least, best first, by `Problem.additive`; the reward teaches it nothing.

    Of each skeleton a program chooses one attention and one feed-forward for every layer: the sum of what they lose is
    least, and the sum of their milliseconds keeps a limit (`scipy.optimize.milp`, to optimality). The predictor's
    milliseconds are no sums, so the limit is corrected until its upper end keeps the budget. Each further candidate is
    the next best: its program leaves out those found before. Where programs find too few, the best of a random pool
    make up the number.
    """

    def __init__(self, problem: Problem, seed: int) -> None:
        super().__init__(problem, seed)
        if problem.additive is None:
            raise ValueError("integer programming needs what parts lose: a problem with `additive`")
        self._additive = problem.additive
        self._programs: dict[Skeleton, Program] = {}

    def _pool(self, n: int) -> Pool:
        found = [self._program(skeleton).best(n, self._proposed) for skeleton in self._additive.tables]
        join = np.concatenate(found) if found else None
        return draw_pool(self.problem, n, self._proposed, self._generator, join)

    def _program(self, skeleton: Skeleton) -> "Program":
        if skeleton not in self._programs:
            self._programs[skeleton] = Program(self.problem, self._additive, skeleton)
        return self._programs[skeleton]

    def _choose(self, pool: Pool, n: int) -> npt.NDArray[np.int64]:
        # In any order where nothing is known of several.
        order = self._generator.permutation(len(pool.codes))
        return order[np.argsort(self._additive(pool.codes[order]), kind="stable")][:n]


class Program:
    """The integer program of one skeleton."""

    def __init__(self, problem: Problem, additive: Additive, skeleton: Skeleton) -> None:
        table, space = additive.tables[skeleton], problem.space
        slots = len(table.feed_forward)
        whole = largest(space, skeleton)
        genes: list[tuple[int, dict[int, int]]] = []
        losses: list[float] = []
        first = len(space.common_genes)
        for slot in range(slots):
            place = first + slot * len(space.layer_genes)
            for heads, queries in np.argwhere(np.isfinite(table.attention[slot])):
                genes.append((2 * slot, {place: int(heads), place + 1: int(queries)}))
                losses.append(float(table.attention[slot, heads, queries]))
            for ffn, loss in enumerate(table.feed_forward[slot]):
                genes.append((2 * slot + 1, {place + 2: ffn}))
                losses.append(float(loss))
        codes = np.repeat(whole[None], len(genes), axis=0)
        for row, (_, changed) in enumerate(genes):
            codes[row, list(changed)] = list(changed.values())
        # The middle of predictions, which limits and rules leave finite: they bar whole members, as upper ends do.
        (whole_ms,), parts_ms = (problem.scorer(given)[0] for given in (whole[None], codes))
        self._problem, self._whole, self._genes = problem, whole, [changed for _, changed in genes]
        self._losses = np.array(losses)
        self._saved_ms, self._whole_ms = whole_ms - parts_ms, float(whole_ms)
        self._one_each = np.equal.outer(np.arange(2 * slots), [group for group, _ in genes]).astype(float)
        self._limit_ms: float | None = None

    def best(self, n: int, seen: list[list[int]]) -> Codes:
        """The n best members [n, genes] that are not in `seen`; fewer where there are no more."""
        if self._limit_ms is None:
            self._limit_ms = self._corrected()
        found: list[npt.NDArray[np.int64]] = []
        cuts = [cut for code in seen if (cut := self._chosen(np.array(code))) is not None]
        while len(found) < n:
            chosen = self.solve(self._limit_ms, cuts)
            if chosen is None:
                break
            cuts.append(chosen)
            found.append(self._code(chosen))
        return np.array(found, dtype=np.int64).reshape(len(found), len(self._whole))

    def solve(self, limit_ms: float, cuts: list[npt.NDArray[np.bool_]]) -> npt.NDArray[np.bool_] | None:
        """Which parts are chosen so that their milliseconds add up to `limit_ms` at most, those of `cuts` left out."""
        groups = len(self._one_each)
        constraints = [
            LinearConstraint(self._one_each, 1, 1),
            LinearConstraint(-self._saved_ms[None], -np.inf, limit_ms - self._whole_ms),
        ]
        if cuts:
            constraints.append(LinearConstraint(np.array(cuts, dtype=float), -np.inf, groups - 1))
        result: Any = milp(
            self._losses,
            constraints=constraints,
            integrality=np.ones(len(self._losses)),
            bounds=Bounds(0, 1),
            options={"mip_rel_gap": 0.0},
        )
        return None if result.x is None else np.asarray(result.x > 0.5)

    def _corrected(self) -> float:
        """The limit of the sums with which the best member is as near below the budget as it comes."""
        budget = self._problem.budget_ms
        limit, kept = budget, 0.0
        low = high = None
        for _ in range(ROUNDS):
            chosen = self.solve(limit, [])
            if chosen is None:
                # Nothing is so fast by the sums: more may be by the predictor.
                low = limit
            else:
                upper = float(self._problem.scorer(self._code(chosen)[None])[1][0])
                if upper <= budget:
                    kept, low = max(kept, limit), limit
                    if upper >= CLOSE * budget or (self._code(chosen) == self._whole).all():
                        break
                else:
                    high = limit
            limit = (low + high) / 2 if low and high else 1.3 * limit if low else 0.7 * limit
        return kept

    def _code(self, chosen: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
        code = self._whole.copy()
        for row in np.flatnonzero(chosen):
            code[list(self._genes[row])] = list(self._genes[row].values())
        return code

    def _chosen(self, code: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_] | None:
        """The parts of a member; None where it is another skeleton's."""
        chosen = np.array([all(code[place] == gene for place, gene in part.items()) for part in self._genes])
        other = code.copy()
        for part in self._genes:
            other[list(part)] = self._whole[list(part)]
        return chosen if (other == self._whole).all() else None
