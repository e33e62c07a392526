"""Episodes like KD-NAS's with a ridge regression over shapes for the LSTM, which also learns from other budgets."""

import numpy as np
import numpy.typing as npt

from nas.controllers.contract import CONTROLLERS, Codes, Controller, Episode, EpisodeReport
from nas.controllers.pool import Pool
from nas.controllers.shape_features import Features, foretell, shape_features
from nas.reward import rank_correlation

EXPLORATION_FLOOR = 0.05


@CONTROLLERS.register("ridge")
class RidgeController(Controller):
    """Part of an episode is random, the rest has the best predicted reward of a large pool.

    Ours; the falling random share is that of KD-NAS (docs/methods.md). Rewards and features of each budget's candidates
    count as differences from their own mean: what one budget teaches another is which shapes are better than others of
    about the same latency.
    """

    learns = True

    def exploration(self) -> float:
        """Random share of the next episode: the floor where other budgets were explored before."""
        if self.lessons:
            return EXPLORATION_FLOOR
        return max(EXPLORATION_FLOOR, 1.0 - self.problem.exploration_step * len(self.episodes))

    def _choose(self, pool: Pool, n: int) -> npt.NDArray[np.int64]:
        explored = round(self.exploration() * n) if self._observed() else n
        drawn = self._generator.choice(len(pool.codes), size=explored, replace=False)
        if explored == n:
            return drawn
        foretold = self._foretold(pool.codes)
        foretold[drawn] = -np.inf
        best = np.argsort(-foretold, kind="stable")[: n - explored]
        return np.concatenate([best, drawn])

    def _judge(self, episode: Episode) -> EpisodeReport:
        rho = rank_correlation(self._foretold(episode.codes), episode.rewards) if self._observed() else None
        return {"exploration": round(self.exploration(), 6), "ridge_rho": rho}

    def _observed(self) -> list[tuple[Codes, npt.NDArray[np.float64]]]:
        """Codes and rewards of each other budget, and of all episodes of this one."""
        found = [(lesson.codes, lesson.rewards) for lesson in self.lessons]
        if self.episodes:
            own = ([episode.codes for episode in self.episodes], [episode.rewards for episode in self.episodes])
            found.append((np.concatenate(own[0]), np.concatenate(own[1])))
        return found

    def _foretold(self, codes: Codes) -> Features:
        """Codes [n, genes] → rewards [n] that are comparable with each other alone."""
        inputs, wanted = [], []
        for seen, rewards in self._observed():
            features = shape_features(self.problem.space, seen)
            inputs.append(features - features.mean(axis=0))
            wanted.append((rewards - rewards.mean()) / (rewards.std() or 1.0))
        asked = shape_features(self.problem.space, codes)
        return foretell(np.concatenate(inputs), np.concatenate(wanted), asked - asked.mean(axis=0))
