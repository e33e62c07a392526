"""The gate: a precision is kept only where it was measured to be faster or smaller, and loses no more than stated."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from runs.errors import UserError

RESAMPLES = 2000
CONFIDENCE = 95
MINIMUM_ROUNDS = 5
"""Of fewer rounds no interval can be told."""


@dataclass(frozen=True)
class Gate:
    """What a precision has to show beside fp32; every number is a demand that must hold."""

    maximum_loss_points: float = 0.5
    """Score points (of 100) that may be lost at most; asked where scores are known."""
    minimum_agreement: float = 0.99
    """Share of examples that must get the fp32 answer; asked where no scores are known."""
    minimum_gain: float = 0.02
    """Share of latency or of bytes that must be saved; less is not worth another file."""
    maximum_slowdown: float | None = None
    """How many times as long a smaller file may take; None leaves that to the user."""

    def __post_init__(self) -> None:
        for name, least, most in (("maximum_loss_points", 0, 100), ("minimum_agreement", 0, 1), ("minimum_gain", 0, 1)):
            if not least <= getattr(self, name) <= most:
                raise UserError(f"the gate's {name} is {getattr(self, name)}: it must lie in {least}–{most}.")
        if self.maximum_slowdown is not None and not self.maximum_slowdown >= 1:
            raise UserError(f"the gate's maximum_slowdown is {self.maximum_slowdown}: it must be 1 or more.")


STANDARD = Gate()


@dataclass(frozen=True)
class Evidence:
    """What was measured of one file on one target."""

    precision: str
    latencies_ms: Sequence[float]
    """One per round; files that are compared were timed in the same rounds, in turn."""
    size_bytes: int
    agreement: float = 1.0
    """Share of validation examples with the fp32 file's answer."""
    score: float | None = None
    """On the same validation examples, 0–1; None where there are no labels."""


@dataclass(frozen=True)
class Verdict:
    """Whether a precision is kept, with the numbers that decided it."""

    precision: str
    kept: bool
    reason: str
    """One sentence."""
    speedup: float
    """Latency of fp32 over its latency, the median over rounds."""
    speedup_interval: tuple[float, float]
    """95 % of the medians of resampled rounds."""
    size_ratio: float
    """Its bytes over those of fp32."""
    agreement: float
    loss_points: float | None
    """Score points of 100 that are lost; None where no scores are known."""

    def to_json(self) -> dict[str, Any]:
        """Plain numbers and names."""
        return {**asdict(self), "speedup_interval": list(self.speedup_interval)}


def judge(exact: Evidence, candidate: Evidence, gate: Gate = STANDARD, *, seed: int = 0) -> Verdict:
    """Hold `candidate` against the fp32 file `exact`, both measured on the same target and the same texts.

    Faster means that the whole interval of the speedup lies beyond what `minimum_gain` asks. Raises `UserError` for
    latencies that were not taken in the same rounds, and where only one of the two has a score.
    """
    _check(exact, candidate)
    speedup, interval = _speedup(exact, candidate, seed)
    size_ratio = candidate.size_bytes / exact.size_bytes
    scores = exact.score, candidate.score
    loss = None if scores[0] is None or scores[1] is None else 100 * (scores[0] - scores[1])
    faster = interval[0] * (1 - gate.minimum_gain) >= 1
    smaller = size_ratio <= 1 - gate.minimum_gain
    refusals = _losses(loss, candidate.agreement, gate)
    if not faster and not smaller:
        refusals.append(f"it is neither faster nor smaller by {gate.minimum_gain:.0%}")
    if gate.maximum_slowdown is not None and 1 / speedup > gate.maximum_slowdown:
        refusals.append(f"it may take {gate.maximum_slowdown:.2f} times as long at most")
    about = (
        f"{candidate.precision} is {speedup:.2f} times as fast as fp32 ({interval[0]:.2f}–{interval[1]:.2f}), has "
        f"{size_ratio:.2f} times its bytes, {_cost(loss, candidate.agreement)}"
    )
    reason = f"{about}: refused, since {' and '.join(refusals)}." if refusals else f"{about}: kept."
    return Verdict(candidate.precision, not refusals, reason, speedup, interval, size_ratio, candidate.agreement, loss)


def _check(exact: Evidence, candidate: Evidence) -> None:
    one, other = len(exact.latencies_ms), len(candidate.latencies_ms)
    if one != other:
        raise UserError(f"fp32 was timed {one} times and {candidate.precision} {other}: time them in the same rounds.")
    if one < MINIMUM_ROUNDS:
        raise UserError(f"{candidate.precision} was timed {other} times: time it in {MINIMUM_ROUNDS} rounds or more.")
    for evidence in (exact, candidate):
        times = np.asarray(evidence.latencies_ms, dtype=float)
        if not (np.isfinite(times).all() and (times > 0).all()) or evidence.size_bytes < 1:
            raise UserError(f"latencies and size of {evidence.precision} must be positive numbers: measure it again.")
    if (exact.score is None) != (candidate.score is None):
        raise UserError(f"only one of fp32 and {candidate.precision} has a score: score both on the same texts.")


def _speedup(exact: Evidence, candidate: Evidence, seed: int) -> tuple[float, tuple[float, float]]:
    """The median ratio over rounds and the interval of such medians; a slow round slows both sides of its ratio."""
    ratios = np.asarray(exact.latencies_ms, dtype=float) / np.asarray(candidate.latencies_ms, dtype=float)
    picks = np.random.default_rng(seed).integers(0, len(ratios), (RESAMPLES, len(ratios)))
    tail = (100 - CONFIDENCE) / 2
    low, high = np.percentile(np.median(ratios[picks], axis=1), [tail, 100 - tail])
    return float(np.median(ratios)), (float(low), float(high))


def _losses(loss: float | None, agreement: float, gate: Gate) -> list[str]:
    """What is lost beyond what the gate allows; NaN is beyond everything."""
    if loss is None:
        allowed = agreement >= gate.minimum_agreement
        return [] if allowed else [f"{gate.minimum_agreement:.1%} of the answers must stay the same"]
    allowed = loss <= gate.maximum_loss_points + 1e-9
    return [] if allowed else [f"at most {gate.maximum_loss_points:g} points may be lost"]


def _cost(loss: float | None, agreement: float) -> str:
    same = f"gives {agreement:.2%} of its answers"
    # Zero is added so that nothing lost does not read as −0.00.
    return same if loss is None else f"{same} and moves the score by {0.0 - loss:+.2f} points"
