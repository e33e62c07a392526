"""NSGA-II: a front of students, none of them beaten in reward, latency and weights at once."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from nas.controllers.contract import CONTROLLERS, Codes, Controller, Episode, EpisodeReport
from nas.controllers.pool import Pool, Problem, draw_pool

FRONT_SHARE = 0.5
"""Of the budget: the front reaches down to students twice as fast as asked for."""

CHILDREN_PER_PLACE = 40
"""Children drawn for each place in a generation, of which those outside the budget are not proposed."""

MUTATED_GENES = 1.5
"""How many genes of a child are drawn anew, on average."""

Objectives = npt.NDArray[np.float64]
"""[n, objectives], all the less the better."""


def ranks(objectives: Objectives) -> npt.NDArray[np.int64]:
    """Which front each belongs to [n]: 0 for those that none beats, 1 for those that only these beat, and so on.

    One beats another that it is nowhere worse than and somewhere better.
    """
    one, other = objectives[:, None], objectives[None]
    beats: npt.NDArray[np.bool_] = np.all(one <= other, axis=2) & np.any(one < other, axis=2)
    found = np.full(len(objectives), -1, dtype=np.int64)
    left, front = np.arange(len(objectives)), 0
    while len(left):
        found[left[~beats[np.ix_(left, left)].any(axis=0)]] = front
        left, front = np.flatnonzero(found < 0), front + 1
    return found


def crowding(objectives: Objectives, fronts: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """How far each one's neighbours on its front are apart [n], summed over objectives; infinite at a front's ends."""
    found = np.zeros(len(objectives))
    for front in np.unique(fronts):
        members = np.flatnonzero(fronts == front)
        for values in objectives[members].T:
            order = np.argsort(values, kind="stable")
            span = values[order[-1]] - values[order[0]] or 1.0
            found[members[order[1:-1]]] += (values[order[2:]] - values[order[:-2]]) / span
            found[members[order[[0, -1]]]] = np.inf
    return found


@CONTROLLERS.register("nsga2")
class NsgaController(Controller):
    """Parents win tournaments of two by front, then by distance to neighbours; children are crossed and mutated.

    Deb et al. 2002. Objectives are the reward, the predicted latency and, where the problem tells them, the weights,
    which decide a file's size as well. Numbers of children and of genes that mutate are ours. The first generation is
    random, parents are the best of all so far, as many as two generations, and no child is tried twice.
    """

    def __init__(self, problem: Problem, seed: int) -> None:
        super().__init__(replace(problem, window=min(problem.window, FRONT_SHARE)), seed)

    def _pool(self, n: int) -> Pool:
        children = self._children(n) if self.episodes else None
        return draw_pool(self.problem, n, self._proposed, self._generator, children)

    def _choose(self, pool: Pool, n: int) -> npt.NDArray[np.int64]:
        children, others = (self._generator.permutation(np.flatnonzero(kind)) for kind in (pool.joined, ~pool.joined))
        return np.concatenate([children, others])[:n]

    def _judge(self, episode: Episode) -> EpisodeReport:
        """How many are on the front of all so far."""
        return {"front": int((ranks(self._objectives([*self.episodes, episode])) == 0).sum())}

    def _objectives(self, episodes: list[Episode]) -> Objectives:
        codes = np.concatenate([episode.codes for episode in episodes])
        found = [-np.concatenate([episode.rewards for episode in episodes]), self.problem.scorer(codes)[0]]
        if self.problem.parameters is not None:
            found.append(self.problem.parameters(codes))
        return np.stack(found, axis=1)

    def _children(self, n: int) -> Codes:
        codes = np.concatenate([episode.codes for episode in self.episodes])
        objectives = self._objectives(self.episodes)
        fronts = ranks(objectives)
        best = np.lexsort((-crowding(objectives, fronts), fronts))[: 2 * n]
        # Their order is by front and crowding, so the smaller place wins a tournament.
        places = self._generator.integers(len(best), size=(2, CHILDREN_PER_PLACE * n, 2)).min(axis=2)
        mothers, fathers = codes[best[places[0]]], codes[best[places[1]]]
        space = self.problem.space
        return space.mutate(space.cross(mothers, fathers, self._generator), self._generator,
                            MUTATED_GENES / codes.shape[1])  # fmt: skip
