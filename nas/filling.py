"""Filling: what a budget still has room for is given to a finalist, in neurons and heads, and measured."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from nas.budget import Budget
from nas.finalists import MARGIN, Candidate, Finalist, MeasureSpecs

NEAR = 0.02
"""Share of the budget below what a finalist may take from which on it is left as it is: noise is not far."""

RESERVE = 0.01
"""Share that growing stays below what a finalist may take, since predictions of neighbours err a little as well."""

ROUNDS = 3
"""How often a grown finalist is timed."""

Larger = Callable[[Candidate], Sequence[Candidate]]
"""A candidate → every neighbour with one more step of heads or feed-forward, with predictions."""


def fill(finalist: Finalist, budget: Budget, measure: MeasureSpecs, larger: Larger, margin: float = MARGIN) -> Finalist:
    """The finalist, or a larger one that was measured within the budget (less the margin) as well.

    It grows step by step, each the largest that should fit by the predictions and by how far the last measurement was
    off. It is timed beside what it grew from. One that turns out too slow is tried again with half the growth: the
    machine may have been disturbed just then.
    """
    limit = budget.latency_ms * (1.0 - margin)
    best, most_ms = finalist, _room(finalist, limit)
    for _ in range(ROUNDS):
        if best.measured_ms >= limit - NEAR * budget.latency_ms:
            break
        grown = _grown(best.candidate, most_ms, larger)
        if grown.codes == best.candidate.codes:
            break
        was_ms, grown_ms = (measurement.p50_ms for measurement in measure([best.candidate.spec, grown.spec]))
        # What both have in common tells a fast moment from a fast student: the slower of the two moments is believed.
        measured_ms = grown_ms * max(1.0, best.measured_ms / was_ms)
        if measured_ms > limit:
            most_ms = (best.candidate.predicted_ms + grown.predicted_ms) / 2
        else:
            best = Finalist(grown, measured_ms)
            most_ms = _room(best, limit)
    return best


def _room(finalist: Finalist, limit_ms: float) -> float:
    """Up to which prediction a finalist may grow, if predictions stay off as its own was."""
    return limit_ms * (1.0 - RESERVE) * finalist.candidate.predicted_ms / finalist.measured_ms


def _grown(candidate: Candidate, most_ms: float, larger: Larger) -> Candidate:
    """The candidate after as many steps as are predicted to take no more than `most_ms`."""
    while True:
        fitting = [other for other in larger(candidate) if candidate.predicted_ms < other.predicted_ms <= most_ms]
        if not fitting:
            return candidate
        chosen = max(fitting, key=lambda other: (other.predicted_ms, other.codes))
        candidate = replace(chosen, reward=candidate.reward, trimmed=candidate.trimmed, filled=candidate.filled + 1)
