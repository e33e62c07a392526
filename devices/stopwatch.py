"""The only stopwatch: rounds over open sessions in random order, the reference among them."""

import gc
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from time import time
from typing import Any

import numpy as np

from devices.target import Session

PATIENCE_MS = 100.0
"""A session this slow is warm after fewer runs than the policy asks for, and too large for any cache to stay warm."""


@dataclass(frozen=True)
class Policy:
    """How much is measured.

    In each round every open session runs `settle_runs` times unseen, so that its weights are in the cache as they are
    when a model is used again and again, and then as many times as fit `sample_ms`, at least once and at most
    `max_runs` times; the median of these is the sample. At most `held_open` sessions, or as many as fit `held_gib`, are
    open at once: memory is finite, and drift within a batch is what the rounds can see.
    """

    rounds: int = 5
    warmup_runs: int = 2
    settle_runs: int = 1
    sample_ms: float = 10.0
    max_runs: int = 8
    held_open: int = 24
    held_gib: float = 1.5

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
    """The session that runs in every round; its own rounds are counted on from `first_round`."""

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
    """Run until warm; returns the shortest duration in ms."""
    spent = fastest = session.time_ms()
    for _ in range(policy.warmup_runs - 1):
        if spent > PATIENCE_MS:
            break
        latest = session.time_ms()
        spent, fastest = spent + latest, min(fastest, latest)
    return fastest


def sample_ms(session: Session, duration_ms: float, policy: Policy) -> float:
    """Settle, then the median of as many runs as the policy has for a session of this duration."""
    for _ in range(policy.settle_runs if duration_ms < PATIENCE_MS else 0):
        session.time_ms()
    runs = int(np.clip(policy.sample_ms / max(duration_ms, 1e-6), 1, policy.max_runs))
    return float(np.median([session.time_ms() for _ in range(runs)]))


def measure(
    sessions: Mapping[str, Session],
    missing: Mapping[str, Collection[int]],
    policy: Policy,
    rng: np.random.Generator,
    reference: Reference | None = None,
) -> Iterator[Reading]:
    """Time open sessions, each in the rounds `missing` names for its key, and yield every reading as it is taken.

    The order is drawn anew in every round, so that a slow second of the machine does not always meet the same model.
    """
    own_rounds = reference.first_round if reference else 0
    everyone = dict(sessions) | ({reference.key: reference.session} if reference else {})
    with undisturbed():
        durations = {key: warm_up(session, policy) for key, session in everyone.items()}
        for position in sorted({number for key in sessions for number in missing[key]}):
            turn = [key for key in sessions if position in missing[key]]
            turn += [reference.key] if reference else []
            for choice in rng.permutation(len(turn)):
                key = turn[choice]
                milliseconds = sample_ms(everyone[key], durations[key], policy)
                is_reference = reference is not None and key == reference.key
                yield Reading(key, own_rounds if is_reference else position, milliseconds, time())
            own_rounds += 1
