"""How a profile divides its time, and how much of it was spent before a kill."""

from collections.abc import Iterable
from dataclasses import dataclass

from devices.measurement import Sample

PAUSE_SECONDS = 60.0
"""A longer gap between two samples is taken for time in which nothing ran, after a kill for example."""

FIRST_SHARE = 1 / 3
"""Of all the time: what the plan alone gets before the predictor has a say."""

ALONE_SHARE = 0.75
"""The same where no rounds of choosing follow."""

FINISH_SECONDS = 15.0
CHECK_AT_LEAST_SECONDS = 20.0
SPARE = 1.15
"""Beside what is expected: the check's students have larger tables than those that its seconds were learned from."""


def busy_seconds(samples: Iterable[Sample]) -> float:
    """Seconds between the first sample and the last, pauses left out."""
    moments = sorted(sample.taken_at for sample in samples)
    gaps = [later - sooner for sooner, later in zip(moments, moments[1:], strict=False)]
    return sum(gap for gap in gaps if gap <= PAUSE_SECONDS)


@dataclass(frozen=True)
class Timetable:
    """When the work began, had it never been interrupted, and the seconds that it may take; moments since 1970."""

    began: float
    limit_seconds: float

    @property
    def end(self) -> float:
        """When all is to be over."""
        return self.began + self.limit_seconds

    def first_ends(self, rounds: int) -> float:
        """When the first part of the plan ends, where as many rounds of choosing follow."""
        return self.began + self.limit_seconds * (FIRST_SHARE if rounds else ALONE_SHARE)

    def check_ends(self, fit_seconds: float, now: float) -> float:
        """When the check ends, so that as many seconds of fitting are left."""
        return max(self.end - SPARE * fit_seconds - FINISH_SECONDS, now + CHECK_AT_LEAST_SECONDS)

    def round_ends(self, number: int, rounds: int, check_seconds: float, fit_seconds: float, now: float) -> float:
        """When the round of this number, counted from 1, ends: those that are left share the time before the check."""
        last = self.end - SPARE * (check_seconds + fit_seconds) - FINISH_SECONDS
        return now + max(last - now, 0.0) / (rounds - number + 1)
