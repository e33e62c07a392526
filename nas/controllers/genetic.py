"""A genetic search as W-PCA has it: half of a generation are mutants of the best so far, half are crossed from them."""

import numpy as np
import numpy.typing as npt

from nas.controllers.contract import CONTROLLERS, Codes, Controller, Problem
from nas.controllers.pool import Pool, draw_pool

MUTATED_SHARE = 0.1
"""Of a mutant's genes (the published code's)."""

CHILDREN_PER_PLACE = 40
"""Children drawn for each place in a generation, of which those outside the budget are not proposed."""


@CONTROLLERS.register("genetic")
class GeneticController(Controller):
    """Parents are the best so far, as many as one generation; the first generation is random.

    docs/methods.md: the halves and the share of genes that mutate are the published code's; who becomes a parent is
    ours, and where too few children lie within the budget, random members make up the number.
    """

    def __init__(self, problem: Problem, seed: int) -> None:
        super().__init__(problem, seed)
        self._mutants: set[tuple[int, ...]] = set()

    def _pool(self, n: int) -> Pool:
        if not self.episodes:
            return draw_pool(self.problem, n, self._proposed, self._generator)
        mutants, crossed = self._mutated(n), self._crossed(n)
        self._mutants = {tuple(code) for code in mutants.tolist()}
        return draw_pool(self.problem, n, self._proposed, self._generator, np.concatenate([mutants, crossed]))

    def _choose(self, pool: Pool, n: int) -> npt.NDArray[np.int64]:
        mutant = np.array([tuple(code) in self._mutants for code in pool.codes.tolist()], dtype=bool) & pool.joined
        kinds = (mutant, pool.joined & ~mutant, ~pool.joined)
        mutants, crossed, others = (self._generator.permutation(np.flatnonzero(kind)) for kind in kinds)
        half = max(n // 2, n - len(crossed))
        return np.concatenate([mutants[:half], crossed, mutants[half:], others])[:n]

    def _parents(self, n: int, count: int) -> Codes:
        """`count` of the best n so far, drawn evenly."""
        codes = np.concatenate([episode.codes for episode in self.episodes])
        best = np.argsort(-np.concatenate([episode.rewards for episode in self.episodes]), kind="stable")[:n]
        drawn: Codes = codes[self._generator.choice(best, size=count)]
        return drawn

    def _mutated(self, n: int) -> Codes:
        return self.problem.space.mutate(self._parents(n, CHILDREN_PER_PLACE * n), self._generator, MUTATED_SHARE)

    def _crossed(self, n: int) -> Codes:
        mothers, fathers = (self._parents(n, CHILDREN_PER_PLACE * n) for _ in range(2))
        return self.problem.space.cross(mothers, fathers, self._generator)
