"""Milliseconds that a clock is expected to show, of a space's members in bulk; the heavy barred, the fastest found."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from devices.disturbance import Disturbance
from devices.workload import Workload
from nas.budget import Budget
from nas.controllers.pool import Codes, Milliseconds
from nas.finalists import Candidate
from nas.limits import Limits
from nas.members import Members
from nas.rules import RULES
from predictor.compiled import CompiledPredictor, in_chunks
from predictor.latency import LatencyPredictor
from runs.errors import UserError
from students.shape_text import shape_text
from students.spec import StudentSpec

SEARCHED_FOR_FASTEST = 20_000


@dataclass(frozen=True)
class Scoring:
    """The latency predictor seen through a space: what controllers and finalists ask.

    A budget is held against a clock, so every latency here is one: the predictor's, on a machine as disturbed as the
    profile found it usually is.
    """

    members: Members
    predictor: LatencyPredictor
    workload: Workload
    disturbance: Disturbance = Disturbance()
    limits: Limits = Limits()
    rule: str = "none"
    """Which members may be tried (`nas.rules`)."""

    @cached_property
    def _compiled(self) -> CompiledPredictor:
        return CompiledPredictor.of(self.predictor, self.members.blocks, self.workload)

    def latency_ms(self, codes: Codes) -> Milliseconds:
        """Codes [n, genes] → predicted ms [n], on all cores."""
        usual, compiled = self.disturbance.usual, self._compiled
        return in_chunks(lambda rows: usual * compiled.score(self.members.table(codes[rows]).index), len(codes))

    def __call__(self, codes: Codes) -> tuple[Milliseconds, Milliseconds]:
        """Codes [n, genes] → predicted ms [n] and upper end [n], infinite where a limit or the rule bars them.

        The upper end is that of the prediction on the usual machine: choosing picks what is predicted too low, and
        whether the machine will be more disturbed than usual it cannot know.
        """
        latency = self.latency_ms(codes)
        return latency, np.where(self._allowed(codes), latency * self._compiled.margin(), np.inf)

    def candidates(self, codes: Codes, rewards: Sequence[float]) -> list[Candidate]:
        """Codes [n, genes] and rewards [n] → candidates with specs and predictions; barred ones are left out."""
        latency, allowed, margin = self.latency_ms(codes), self._allowed(codes), self._compiled.margin()
        alone = latency / self.disturbance.usual
        low, high = self.disturbance.interval(alone / margin, alone, alone * margin)
        return [
            Candidate(tuple(code), spec, float(reward), float(latency[n]), (float(low[n]), float(high[n])))
            for n, (code, spec, reward) in enumerate(
                zip(codes.tolist(), self.members.specs(codes), rewards, strict=True)
            )
            if allowed[n]
        ]

    def smaller(self, candidate: Candidate) -> list[Candidate]:
        """Every neighbour one step smaller, with the candidate's reward."""
        codes = self.members.space.trim(np.array(candidate.codes, dtype=np.int64))
        return self.candidates(codes, [candidate.reward] * len(codes)) if len(codes) else []

    def larger(self, candidate: Candidate) -> list[Candidate]:
        """Every neighbour with one step more of heads or feed-forward, with the candidate's reward."""
        codes = self.members.space.grow(np.array(candidate.codes, dtype=np.int64))
        return self.candidates(codes, [candidate.reward] * len(codes)) if len(codes) else []

    def fastest(self, seed: int) -> Candidate:
        """The member with the lowest predicted latency among the smallest ones and a large random draw.

        Raises:
            UserError: no member keeps the limits, or none the method's rule.
        """
        drawn = self.members.space.sample(SEARCHED_FOR_FASTEST, np.random.default_rng(seed))
        codes = np.concatenate([self.members.space.enumerate_extremes(), drawn])
        codes = codes[RULES[self.rule](self.members.space, codes)]
        if not len(codes):
            raise UserError(
                f"the space {self.members.space.name} has no student that keeps the rule {self.rule!r} of this method: "
                "choose another --method or --space."
            )
        latency = np.where(self._allowed(codes), self.latency_ms(codes), np.inf)
        if not np.isfinite(latency).any():
            raise UserError(self.limits.missed(self.members, codes))
        return self.candidates(codes[[int(np.argmin(latency))]], [0.0])[0]

    def _allowed(self, codes: Codes) -> npt.NDArray[np.bool_]:
        kept = RULES[self.rule](self.members.space, codes)
        return kept & self.limits.allow(self.members, codes)


def require_feasible(
    budgets: Sequence[Budget], fastest: Candidate, measure: Callable[[StudentSpec], float], target: str, space_name: str
) -> None:
    """Raise `UserError` for a budget that even the fastest member misses, with its milliseconds.

    Where the prediction alone would say so, the student is timed by `measure` first, for predictions err.
    """
    hopeless = [budget for budget in budgets if fastest.interval_ms[1] > budget.latency_ms]
    if not hopeless:
        return
    measured = measure(fastest.spec)
    for budget in hopeless:
        if measured > budget.latency_ms:
            spec = fastest.spec
            raise UserError(
                f"no student of the space {space_name} can meet --budget-ms {budget.latency_ms:g}: the fastest "
                f"possible ({shape_text(spec)}) takes {measured:.2f} ms on {target}; give a larger budget or another "
                "--space."
            )
