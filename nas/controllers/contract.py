"""What every controller is given and does: ask for candidates, tell their rewards, stop and go on identically."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from nas.controllers.pool import Codes, Pool, Problem, draw_pool
from runs.registry import Registry

__all__ = ["CONTROLLERS", "Codes", "Controller", "EpisodeReport", "Problem"]

EpisodeReport = dict[str, float | int | None]


@dataclass(frozen=True)
class Episode:
    """Candidates that were rewarded together, in the order they were proposed."""

    codes: Codes
    rewards: npt.NDArray[np.float64]

    @property
    def best(self) -> tuple[npt.NDArray[np.int64], float]:
        """The best candidate and its reward; the first of equals."""
        position = int(np.argmax(self.rewards))
        return self.codes[position], float(self.rewards[position])


class Controller(ABC):
    """Proposes candidates that fit a budget and learns from their rewards.

    Everything follows from the problem, the seed and what was told: two controllers given the same are equal to the
    bit, and one restored from another's `state()` continues as the other would have.
    """

    learns: ClassVar[bool] = False
    """Whether it makes use of what other budgets' candidates were worth, and so needs fewer of its own."""

    def __init__(self, problem: Problem, seed: int) -> None:
        self.problem = problem
        self.seed = seed
        self.lessons: list[Episode] = []
        self.episodes: list[Episode] = []
        self._generator = np.random.default_rng(seed)
        self._proposed: list[list[int]] = []
        self._reports: list[EpisodeReport] = []

    def ask(self, n: int) -> Codes:
        """Up to n candidates, int64 [n, genes], that were never proposed before.

        Fewer, or none, come back where the space has no more of them.
        """
        pool = self._pool(n)
        chosen = pool.codes[self._choose(pool, min(n, len(pool.codes)))]
        self._proposed.extend(chosen.tolist())
        return chosen

    def learn(self, codes: Codes, rewards: Sequence[float] | npt.NDArray[np.float64]) -> None:
        """What candidates of another budget [n, genes] were worth there [n], before the first of this one is asked."""
        self.lessons.append(Episode(np.asarray(codes, dtype=np.int64), np.asarray(rewards, dtype=np.float64)))

    def tell(self, codes: Codes, rewards: Sequence[float] | npt.NDArray[np.float64]) -> None:
        """The rewards of one episode's candidates, [n], higher is better, all of them finite."""
        observed = np.asarray(rewards, dtype=np.float64)
        if len(codes) != len(observed) or not np.isfinite(observed).all():
            raise ValueError(f"{len(codes)} candidates need as many finite rewards, not {rewards!r}")
        episode = Episode(np.asarray(codes, dtype=np.int64), observed)
        self._reports.append({"episode": len(self.episodes), "best_reward": episode.best[1], **self._judge(episode)})
        self.episodes.append(episode)

    def state(self) -> dict[str, Any]:
        """All that a new controller of the same problem and seed needs to continue, JSON-able."""
        return {
            "generator": self._generator.bit_generator.state,
            "lessons": [[lesson.codes.tolist(), lesson.rewards.tolist()] for lesson in self.lessons],
            "proposed": [list(code) for code in self._proposed],
            "episodes": [[episode.codes.tolist(), episode.rewards.tolist()] for episode in self.episodes],
            "reports": [dict(report) for report in self._reports],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take over what `state()` gave."""
        self._generator.bit_generator.state = state["generator"]
        self._proposed = [list(code) for code in state["proposed"]]
        self.lessons, self.episodes = (
            [
                Episode(np.array(codes, dtype=np.int64), np.array(rewards, dtype=np.float64))
                for codes, rewards in state[kind]
            ]
            for kind in ("lessons", "episodes")
        )
        self._reports = [dict(report) for report in state["reports"]]

    def report(self) -> list[EpisodeReport]:
        """What can be said of each episode so far: its best reward, and how well it was foretold."""
        return [dict(report) for report in self._reports]

    def _pool(self, n: int) -> Pool:
        """What the next n are chosen from."""
        return draw_pool(self.problem, n, self._proposed, self._generator)

    @abstractmethod
    def _choose(self, pool: Pool, n: int) -> npt.NDArray[np.int64]:
        """Positions in the pool of the n candidates to propose, [n], all different."""

    def _judge(self, episode: Episode) -> EpisodeReport:
        """What this controller thought of an episode before it learns from it."""
        return {}


CONTROLLERS: Registry[type[Controller]] = Registry("controller")
"""Name → a class, whose instances are made of a problem and a seed."""
