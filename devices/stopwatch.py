"""The only stopwatch: rounds over open sessions in random order, the references among them."""

import gc
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from math import ceil, inf, pi, sqrt
from time import time
from typing import Any

import numpy as np

from devices.affinity import Pinning
from devices.guard import Guard
from devices.target import Session

PATIENCE_MS = 100.0
"""A session this slow is warm after fewer runs than the policy asks for, and too large for any cache to stay warm."""

SETTLED_MS = 10.0
"""So long a session runs unseen to fill its caches, if it has the runs for that: one that takes longer is enough."""

STEADY = 0.05
"""A session is warm once the medians of two series of runs agree to this share."""

MOST_SERIES = 10
"""Series of runs after which a session counts as warm although it is not steady."""


HALF_INTERVAL = 1.96 * sqrt(pi / 2) / 1.349
"""Of a median of normal noise, in interquartile ranges over the root of the count: the deviation of a median is
√(π/2) of a mean's, and an interquartile range 1.349 deviations."""


@dataclass(frozen=True)
class Policy:
    """How much is measured.

    In each round every open session runs up to `settle_runs` times unseen, so that its weights are in the cache as they
    are when a model is used again and again, and then as many times as fit `sample_ms`, at least once and at most
    `max_runs` times; the median of these is the sample. Beyond `rounds` up to `extra_rounds` follow for a session whose
    median is not yet known to `tolerance_percent`, unless its samples took `most_ms` already. At most `held_open`
    sessions, or as many as fit `held_gib`, are open at once: memory is finite, and drift within a batch is what the
    rounds can see. `pinned` ones keep to as many cores as their workload has threads. Of several processes at first
    `visits` time a session, or all where that is None. Where no two of them agree (`profiler.timing`) it is taken again
    in another one, or in those that had no quiet moment, at most `retakes` times.
    """

    rounds: int = 5
    warmup_runs: int = 2
    settle_runs: int = 1
    sample_ms: float = 10.0
    max_runs: int = 8
    held_open: int = 24
    held_gib: float = 1.5
    extra_rounds: int = 0
    tolerance_percent: float = 1.0
    most_ms: float = 3000.0
    pinned: bool = True
    visits: int | None = None
    retakes: int = 0

    def visits_among(self, processes: int) -> int:
        """How many of so many processes time each session at least."""
        return processes if self.visits is None else min(self.visits, processes)

    def to_json(self) -> dict[str, Any]:
        """Plain numbers; `Policy(**value)` is the inverse."""
        return asdict(self)


@dataclass(frozen=True)
class Reading:
    """A sample that does not know yet in which process and for which workload it was taken."""

    key: str
    round: int
    milliseconds: float
    taken_at: float


@dataclass(frozen=True)
class Reference:
    """A session that runs in every round; its own rounds are counted on from `first_round`."""

    key: str
    session: Session
    first_round: int = 0


@contextmanager
def undisturbed() -> Iterator[None]:
    """Keep Python's garbage collector from running in the middle of a timed run."""
    was_on = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def warm_up(session: Session, policy: Policy) -> float:
    """Run in series of `warmup_runs` until two medians in a row agree; returns the shortest duration in ms."""
    spent, fastest, before = 0.0, inf, inf
    for _ in range(MOST_SERIES):
        series: list[float] = []
        while len(series) < policy.warmup_runs and spent <= PATIENCE_MS:
            series.append(session.time_ms())
            spent += series[-1]
        fastest = min([fastest, *series])
        if spent > PATIENCE_MS:
            break
        latest = float(np.median(series))
        if abs(latest - before) <= STEADY * latest:
            break
        before = latest
    return fastest


def sample_ms(session: Session, duration_ms: float, policy: Policy) -> float:
    """Settle, then the median of as many runs as the policy has for a session of this duration."""
    duration = max(duration_ms, 1e-6)
    settling = min(policy.settle_runs, ceil(SETTLED_MS / duration)) if duration < PATIENCE_MS else 0
    for _ in range(settling):
        session.time_ms()
    runs = int(np.clip(policy.sample_ms / duration, 1, policy.max_runs))
    return float(np.median([session.time_ms() for _ in range(runs)]))


def uncertainty_percent(values_ms: Collection[float]) -> float:
    """Half of the 95 % interval of a median in percent of it, as many values of normal noise would have it.

    The deviation is taken from the quartiles, which one disturbed sample does not move; of few values the interval is
    too narrow (with five it holds the true one three times of four).
    """
    values = np.fromiter(values_ms, dtype=np.float64)
    low, middle, high = np.percentile(values, [25, 50, 75])
    return float(HALF_INTERVAL * (high - low) / np.sqrt(len(values)) / middle * 100)


def unsure(values_ms: Collection[float], policy: Policy) -> bool:
    """Whether a session with these samples of one process is to have another round beyond the policy's `rounds`."""
    count = len(values_ms)
    if not policy.rounds <= count < policy.rounds + policy.extra_rounds:
        return False
    spent = sum(max(value, policy.sample_ms) for value in values_ms)
    return spent < policy.most_ms and uncertainty_percent(values_ms) > policy.tolerance_percent


@dataclass(frozen=True)
class Circumstances:
    """What a measurement knows beside its sessions, each by their keys.

    The `threads` that each session runs on, for `pinning`; the samples of earlier rounds, round → ms, which count
    towards a tolerance; and the `guard` that may have a round taken again.
    """

    threads: Mapping[str, int] = field(default_factory=dict)
    pinning: Pinning | None = None
    known: Mapping[str, Mapping[int, float]] = field(default_factory=dict)
    guard: Guard | None = None

    def settle(self, key: str) -> None:
        """Be where the session of that key runs."""
        if self.pinning is not None:
            self.pinning.use(self.threads[key])


def measure(
    sessions: Mapping[str, Session],
    missing: Mapping[str, Collection[int]],
    policy: Policy,
    rng: np.random.Generator,
    references: Sequence[Reference] = (),
    circumstances: Circumstances | None = None,
) -> Iterator[Reading]:
    """Time open sessions, each in the rounds `missing` names for its key, and yield the readings round by round.

    The order is drawn anew in every round, so that a slow second of the machine does not always meet the same model;
    sessions on equally many threads follow one another, since threads of another pool still spin after a run.
    """
    about = circumstances or Circumstances()
    everyone = {reference.key: reference.session for reference in references} | dict(sessions)
    own_round = {reference.key: reference.first_round for reference in references}
    values = {key: dict(about.known.get(key, {})) for key in sessions}

    def taken(turn: Mapping[str, int]) -> Iterator[Reading]:
        """One round: key → number of the round for it."""
        while True:
            numbers = dict(turn) | own_round
            readings = []
            for key in _order(list(numbers), about.threads, rng):
                about.settle(key)
                milliseconds = sample_ms(everyone[key], durations[key], policy)
                readings.append(Reading(key, numbers[key], milliseconds, time()))
            if about.guard is None or about.guard.accepts(
                {reading.key: reading.milliseconds for reading in readings if reading.key in own_round}
            ):
                break
        for reading in readings:
            if reading.key in own_round:
                own_round[reading.key] += 1
            else:
                values[reading.key][reading.round] = reading.milliseconds
        yield from readings

    with undisturbed():
        durations = {}
        for key in sorted(everyone, key=lambda key: about.threads.get(key, 0)):
            about.settle(key)
            durations[key] = warm_up(everyone[key], policy)
        for position in sorted({number for key in sessions for number in missing[key]}):
            yield from taken({key: position for key in sessions if position in missing[key]})
        while turn := {key: max(seen) + 1 for key, seen in values.items() if unsure(seen.values(), policy)}:
            yield from taken(turn)


def _order(keys: Sequence[str], threads: Mapping[str, int], rng: np.random.Generator) -> list[str]:
    """The keys in random order, those of equally many threads together."""
    shuffled = [keys[place] for place in rng.permutation(len(keys))]
    groups = list(dict.fromkeys(threads.get(key, 0) for key in shuffled))
    return sorted(shuffled, key=lambda key: groups.index(threads.get(key, 0)))
