"""The shortlist: the best candidates by proxy, timed on the target before they are paid for, and trimmed if too slow.

A latency predictor chosen over thousands of candidates is wrong in their favour; only a measurement keeps a promise.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from devices.disturbance import Disturbance
from nas.budget import Budget
from students.spec import StudentSpec

MARGIN = 0.03
"""Share of the budget that a finalist must leave free: medians of small students move by 2-4 % from some processes to
others, and one that comes out too slow costs a minute at least."""

MOST_MARGIN = 0.05
"""The same on an unsteady machine."""

TRIMS = 3
"""Steps a finalist may be trimmed before it is dropped."""


@dataclass(frozen=True)
class Candidate:
    """A member of the space with its proxy reward, the milliseconds a clock should show, and their 90 % interval."""

    codes: tuple[int, ...]
    spec: StudentSpec
    reward: float
    predicted_ms: float
    interval_ms: tuple[float, float]
    trimmed: int = 0
    """How many steps smaller it is than the candidate that earned the reward."""
    filled: int = 0
    """How many steps larger (`nas.filling`)."""


@dataclass(frozen=True)
class Finalist:
    """A candidate that was measured within the budget: `measured_ms` as `MeasureSpecs` gives it."""

    candidate: Candidate
    measured_ms: float
    cut_from: str | None = None
    """Folder, relative to the run's, of a student that came out slightly too slow and of which this is a part."""

    def to_json(self) -> dict[str, Any]:
        """Plain numbers; `finalist_from_json` is the inverse."""
        candidate = self.candidate
        return {
            "codes": list(candidate.codes),
            "spec": candidate.spec.to_json(),
            "reward": candidate.reward,
            "predicted_ms": candidate.predicted_ms,
            "interval_ms": list(candidate.interval_ms),
            "trimmed": candidate.trimmed,
            "filled": candidate.filled,
            "measured_ms": self.measured_ms,
            "cut_from": self.cut_from,
        }


def finalist_from_json(value: dict[str, Any]) -> Finalist:
    """Read `Finalist.to_json`'s form."""
    low, high = value["interval_ms"]
    candidate = Candidate(
        codes=tuple(value["codes"]),
        spec=StudentSpec.from_json(value["spec"]),
        reward=value["reward"],
        predicted_ms=value["predicted_ms"],
        interval_ms=(low, high),
        trimmed=value["trimmed"],
        filled=value.get("filled", 0),
    )
    return Finalist(candidate, value["measured_ms"], value.get("cut_from"))


def margin_on(disturbance: Disturbance) -> float:
    """Share of the budget to leave free on a machine: half of what the most disturbed models take beyond the usual, at
    least `MARGIN` and at most `MOST_MARGIN`. Until a student is delivered the machine's mood moves that far easily."""
    return min(MOST_MARGIN, max(MARGIN, (disturbance.high / disturbance.usual - 1.0) / 2))


MeasureSpecs = Callable[[Sequence[StudentSpec]], Sequence[float]]
"""Specs → milliseconds of each, all in one batch so that they share the machine's mood; infinite where a student
cannot be used whatever it takes."""

Smaller = Callable[[Candidate], Sequence[Candidate]]
"""A candidate → every neighbour one step smaller, with predictions, whatever their reward."""


def choose_finalists(
    ranked: Sequence[Candidate],
    wanted: int,
    budget: Budget,
    measure: MeasureSpecs,
    smaller: Smaller,
    margin: float = MARGIN,
) -> list[Finalist]:
    """Time candidates from the best reward downwards, `wanted` at a time, until at least one of a batch fits.

    One over the budget (less the margin) is replaced by its best one-step-smaller neighbour and timed again, at most
    `TRIMS` times. Returns those that fit in the order of their rewards; an empty list where none of all does.
    """
    limit = budget.latency_ms * (1.0 - margin)
    seen: set[tuple[int, ...]] = set()
    for start in range(0, len(ranked), wanted):
        # One that an earlier candidate was trimmed to has been timed.
        batch = [candidate for candidate in ranked[start : start + wanted] if candidate.codes not in seen]
        fitting: list[Finalist] = []
        while batch:
            seen.update(candidate.codes for candidate in batch)
            timed = zip(batch, measure([candidate.spec for candidate in batch]), strict=True)
            batch = []
            for candidate, measured_ms in timed:
                if measured_ms <= limit:
                    fitting.append(Finalist(candidate, measured_ms))
                elif trimmed := _trim(candidate, measured_ms, limit, smaller, seen):
                    seen.add(trimmed.codes)
                    batch.append(trimmed)
        if fitting:
            return sorted(fitting, key=lambda finalist: -finalist.candidate.reward)
    return []


def _trim(
    candidate: Candidate, measured_ms: float, limit_ms: float, smaller: Smaller, seen: set[tuple[int, ...]]
) -> Candidate | None:
    """The neighbour closest below the limit, its prediction corrected by what the candidate's own was off by."""
    neighbours = [other for other in smaller(candidate) if other.codes not in seen]
    if candidate.trimmed == TRIMS or not neighbours:
        return None
    off = measured_ms / candidate.predicted_ms
    below = [other for other in neighbours if other.predicted_ms * off <= limit_ms]
    if below:
        chosen = max(below, key=lambda other: (other.predicted_ms, other.codes))
    else:
        chosen = min(neighbours, key=lambda other: (other.predicted_ms, other.codes))
    return replace(chosen, reward=candidate.reward, trimmed=candidate.trimmed + 1)
