"""KD-NAS's controller: an LSTM that predicts the reward of a candidate, exploration that falls, a ridge beside it."""

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import Ridge

from nas.controllers.contract import CONTROLLERS, Codes, Controller, Episode, EpisodeReport, Problem
from nas.controllers.lstm import RewardPredictor, fit_reward_predictor
from nas.controllers.pool import Pool
from nas.reward import rank_correlation

EXPLORATION_FLOOR = 0.05
NOTHING_YET = -1
"""Stands for each gene of a best candidate before there is one."""


@CONTROLLERS.register("kd-nas")
class KdNasController(Controller):
    """Part of an episode is random, the rest has the best predicted reward of a large pool.

    docs/methods.md, second-hand there: the random share starts at 1.0 and falls by 0.05 an episode to a floor of
    0.05; `Problem.exploration_step` lets a shorter schedule fall faster. The predictor is fitted anew before each
    episode on everything observed, which makes the observations the whole of its state.
    """

    def __init__(self, problem: Problem, seed: int) -> None:
        super().__init__(problem, seed)
        self._cardinalities = tuple(problem.space.cardinalities)
        self._fitted: tuple[int, RewardPredictor, Ridge] | None = None

    def restore(self, state: dict[str, Any]) -> None:
        super().restore(state)
        self._fitted = None

    def exploration(self) -> float:
        """Random share of the next episode."""
        return max(EXPLORATION_FLOOR, 1.0 - self.problem.exploration_step * len(self.episodes))

    def _choose(self, pool: Pool, n: int) -> npt.NDArray[np.int64]:
        explored = n if not self.episodes else round(self.exploration() * n)
        drawn = self._generator.choice(len(pool.codes), size=explored, replace=False)
        if explored == n:
            return drawn
        predicted = self._models()[0].predict(self._sequences(pool.codes, len(self.episodes)))
        predicted[drawn] = -np.inf
        best = np.argsort(-predicted, kind="stable")[: n - explored]
        return np.concatenate([best, drawn])

    def _judge(self, episode: Episode) -> EpisodeReport:
        known: EpisodeReport = {"exploration": round(self.exploration(), 6), "lstm_rho": None, "ridge_rho": None}
        if not self.episodes:
            return known
        lstm, ridge = self._models()
        sequences = self._sequences(episode.codes, len(self.episodes))
        return {
            **known,
            "lstm_rho": rank_correlation(lstm.predict(sequences), episode.rewards),
            "ridge_rho": rank_correlation(ridge.predict(self._one_hot(sequences)), episode.rewards),
        }

    def _models(self) -> tuple[RewardPredictor, Ridge]:
        """The LSTM and the ridge regression, fitted on the same inputs and rewards, standardised for both."""
        if self._fitted is None or self._fitted[0] != len(self.episodes):
            inputs = np.concatenate([self._sequences(e.codes, n) for n, e in enumerate(self.episodes)])
            rewards = np.concatenate([episode.rewards for episode in self.episodes])
            scaled = (rewards - rewards.mean()) / (rewards.std() or 1.0)
            lstm = fit_reward_predictor(self._cardinalities, inputs, scaled, self.seed)
            self._fitted = (len(self.episodes), lstm, Ridge(alpha=1.0).fit(self._one_hot(inputs), scaled))
        return self._fitted[1], self._fitted[2]

    def _sequences(self, codes: Codes, episode: int) -> Codes:
        """[n, 3, genes]: best of the previous episode, best so far, candidate, as they stood before `episode`."""
        past = self.episodes[:episode]
        nothing = np.full(codes.shape[1], NOTHING_YET, dtype=np.int64)
        previous = past[-1].best[0] if past else nothing
        ever = max((e.best for e in past), key=lambda best: best[1])[0] if past else nothing
        context = np.broadcast_to(np.stack([previous, ever]), (len(codes), 2, codes.shape[1]))
        return np.concatenate([context, codes[:, None, :]], axis=1)

    def _one_hot(self, sequences: Codes) -> npt.NDArray[np.float64]:
        """[n, 3 * sum of cardinalities]; a gene without a value yet is all zeros."""
        columns = [sequences[:, :, gene, None] == np.arange(values) for gene, values in enumerate(self._cardinalities)]
        return np.concatenate(columns, axis=2).reshape(len(sequences), -1).astype(np.float64)
