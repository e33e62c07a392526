"""Local search: the nearest neighbours of the best candidate so far."""

import numpy as np
import numpy.typing as npt

from nas.controllers.contract import CONTROLLERS, Codes, Controller
from nas.controllers.pool import Pool, draw_pool

NEIGHBOURS_PER_PLACE = 200
"""Mutants of the best drawn for each place: what keeps a student's latency takes a step up and another down, and few
mutants have both."""

CHANGED_GENES = 2.5
"""How many genes a neighbour has changed, on average."""


@CONTROLLERS.register("local")
class LocalController(Controller):
    """The first episode is random; then those neighbours of the best come that have the fewest genes changed.

    Ours. Where the best has too few neighbours in the budget's window that nobody has tried, others make up the number.
    """

    def _pool(self, n: int) -> Pool:
        return draw_pool(self.problem, n, self._proposed, self._generator, self._neighbours(n))

    def _choose(self, pool: Pool, n: int) -> npt.NDArray[np.int64]:
        order = self._generator.permutation(len(pool.codes))
        if not self.episodes:
            return order[:n]
        changed = (pool.codes != self._best()).sum(axis=1)
        far = np.where(pool.joined, changed, pool.codes.shape[1] + 1)
        return order[np.argsort(far[order], kind="stable")[:n]]

    def _best(self) -> npt.NDArray[np.int64]:
        return max((episode.best for episode in self.episodes), key=lambda best: best[1])[0]

    def _neighbours(self, n: int) -> Codes | None:
        if not self.episodes:
            return None
        copies = np.repeat(self._best()[None], NEIGHBOURS_PER_PLACE * n, axis=0)
        return self.problem.space.mutate(copies, self._generator, CHANGED_GENES / copies.shape[1])
