"""Filling and repair: neurons and heads given to finalists, or taken from students, until a budget is used and kept."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from nas.budget import Budget
from nas.finalists import MARGIN, Candidate, Finalist, MeasureSpecs
from students.supernet import sizes

NEAR = 0.01
"""Share of the budget below what a finalist may take from which on it is left as it is: noise is not far."""

RESERVE = 0.01
"""Share that growing stays below what a finalist may take, since predictions of neighbours err a little as well."""

GROWING = 3
"""How often what a finalist may grow to is timed."""

ROUNDS = 3
"""How often one that was cut is timed."""

KEPT = 0.85
"""Share of its predicted milliseconds that a student keeps at least when it is cut: with less it is another student."""

Neighbours = Callable[[Candidate], Sequence[Candidate]]
"""A candidate → neighbours one step larger or smaller, with predictions."""


def fill(
    finalist: Finalist, budget: Budget, measure: MeasureSpecs, larger: Neighbours, margin: float = MARGIN
) -> Finalist:
    """The finalist, or a larger one that was measured within the budget (less the margin) as well.

    `larger` gives those with one more step of heads or feed-forward. It grows step by step, each the largest that
    should fit by the predictions and by how far the last measurement was off. What it comes to is timed beside one that
    grew half as far, should the whole way turn out too slow. Where both do, the half is tried again, and half of it:
    the machine may have been disturbed just then.
    """
    limit = budget.latency_ms * (1.0 - margin)
    best, most_ms = finalist, _room(finalist, limit)
    for _ in range(GROWING):
        if best.measured_ms >= limit - NEAR * budget.latency_ms:
            break
        way = _grown(best.candidate, most_ms, larger)
        if not way:
            break
        tried = [way[(len(way) - 1) // 2], way[-1]] if len(way) > 1 else way
        times_ms = measure([one.spec for one in tried])
        fitting = [Finalist(one, ms) for one, ms in zip(tried, times_ms, strict=True) if ms <= limit]
        if fitting:
            best = max(fitting, key=lambda one: one.candidate.predicted_ms)
            most_ms = _room(best, limit)
        else:
            most_ms = tried[0].predicted_ms
    return best


def _room(finalist: Finalist, limit_ms: float) -> float:
    """Up to which prediction a finalist may grow, if predictions stay off as its own was."""
    return limit_ms * (1.0 - RESERVE) * finalist.candidate.predicted_ms / finalist.measured_ms


def _grown(candidate: Candidate, most_ms: float, larger: Neighbours) -> list[Candidate]:
    """The candidate after one step, two, and as many as are predicted to take no more than `most_ms`."""
    way: list[Candidate] = []
    while True:
        fitting = [other for other in larger(candidate) if candidate.predicted_ms < other.predicted_ms <= most_ms]
        if not fitting:
            return way
        chosen = max(fitting, key=lambda other: (other.predicted_ms, other.codes))
        candidate = replace(chosen, reward=candidate.reward, trimmed=candidate.trimmed, filled=candidate.filled + 1)
        way.append(candidate)


def lighten(
    finalist: Finalist,
    over_ms: float,
    budget: Budget,
    measure: MeasureSpecs,
    smaller: Neighbours,
    margin: float = MARGIN,
) -> Finalist | None:
    """A finalist with a few neurons and heads fewer, measured within the budget (less the margin).

    None where no such was found that keeps `KEPT` of its milliseconds. `over_ms`, in milliseconds, is what the finalist
    took as it was to be shipped; `smaller` gives neighbours one step smaller, of which those count that differ in
    neurons and in numbers of heads alone: heads of another width would make another student.
    """
    limit = budget.latency_ms * (1.0 - margin)
    candidate, most_ms = finalist.candidate, finalist.candidate.predicted_ms * limit / over_ms
    for _ in range(ROUNDS):
        found = _lightened(candidate, most_ms, smaller)
        if found is None or found.predicted_ms < KEPT * finalist.candidate.predicted_ms:
            return None
        was_ms, found_ms = measure([finalist.candidate.spec, found.spec])
        # What it was before it was taught and after it is not quite the same: the slower of the two is believed.
        measured_ms = found_ms * max(1.0, over_ms / was_ms)
        if measured_ms <= limit:
            return Finalist(found, measured_ms)
        candidate, most_ms = found, found.predicted_ms * limit / measured_ms
    return None


def _lightened(candidate: Candidate, most_ms: float, smaller: Neighbours) -> Candidate | None:
    """The candidate after as few steps, and as small ones, as are predicted to bring it to `most_ms` or less."""
    shape = _kept_whole(candidate)
    while candidate.predicted_ms > most_ms:
        near = [
            other
            for other in smaller(candidate)
            if _kept_whole(other) == shape and other.predicted_ms < candidate.predicted_ms
        ]
        if not near:
            return None
        enough = [other for other in near if other.predicted_ms <= most_ms]
        sign = 1 if enough else -1
        chosen = max(enough or near, key=lambda other: (sign * other.predicted_ms, other.codes))
        candidate = replace(chosen, reward=candidate.reward, trimmed=candidate.trimmed + 1, filled=candidate.filled)
    return candidate


def _kept_whole(candidate: Candidate) -> tuple[object, ...]:
    """What of a candidate is not to change when it loses neurons and heads."""
    spec = candidate.spec
    heads = [sizes(layer).get("qkv_width") for layer in spec.layers]
    kinds = [(layer.type, layer.activation) for layer in spec.layers]
    return spec.hidden_width, spec.embedding_width, spec.sharing, kinds, heads
