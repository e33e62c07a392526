"""Evolutionary search as AutoTinyBERT has it: half of a generation is random, half are mutants of the best so far."""

import numpy as np
import numpy.typing as npt

from nas.controllers.contract import CONTROLLERS, Codes, Controller
from nas.controllers.pool import Pool, draw_pool

PARENTS = 25
"""The best so far, whose mutants join a generation (AutoTinyBERT's number, which is that of a generation there)."""

MUTANTS_PER_PLACE = 40
"""Mutants drawn for each place in a generation: most leave the window, and these are not proposed."""

LEAST_SHARE = 0.02
"""Chance of the worst parent beside the best one's, so that no parent is out."""


@CONTROLLERS.register("evolution")
class EvolutionController(Controller):
    """Parents are drawn by their reward (roulette), and mutants that leave the budget's window are dropped.

    docs/methods.md: the generation's halves, the roulette over the best 25 and the steps of a mutation
    (`SearchSpace.step`) are the published code's. A generation is an episode here, whatever its size, and the first one
    is random as a whole.
    """

    def _pool(self, n: int) -> Pool:
        mutants = self._mutants(n) if self.episodes else None
        return draw_pool(self.problem, n, self._proposed, self._generator, mutants)

    def _choose(self, pool: Pool, n: int) -> npt.NDArray[np.int64]:
        children, others = (self._generator.permutation(np.flatnonzero(kind)) for kind in (pool.joined, ~pool.joined))
        half = min(n // 2, len(children))
        # Where too few of one kind lie in the window, the other makes up the number.
        return np.concatenate([children[:half], others, children[half:]])[:n]

    def _mutants(self, n: int) -> Codes:
        codes = np.concatenate([episode.codes for episode in self.episodes])
        rewards = np.concatenate([episode.rewards for episode in self.episodes])
        best = np.argsort(-rewards, kind="stable")[:PARENTS]
        fitness = rewards[best] - rewards[best].min()
        fitness += LEAST_SHARE * (fitness.max() or 1.0)
        drawn = self._generator.choice(best, size=MUTANTS_PER_PLACE * n, p=fitness / fitness.sum())
        return self.problem.space.step(codes[drawn], self._generator)
