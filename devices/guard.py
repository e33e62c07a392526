"""Watching over a measurement: disturbed rounds are taken again, and a machine that has become slow gets a rest."""

from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from time import sleep

import numpy as np

SLOW = 1.15
"""A round in which every reference took this many times its usual duration is not believed."""

FEWEST = 5
"""Readings of a reference before its usual duration is known."""

REMEMBERED = 60
"""Readings of which the median is the usual duration: a machine that stays slow is the usual one after a while."""

TRIES = 3
"""Times a round is taken at most: a machine that stays slow is to be measured all the same."""

FREE_REPEATS = 4
REPEATS_A_ROUND = 0.1
"""Rounds are taken again so many times, and one more for every ten rounds: a busy machine must not stop the work."""

PAUSE_SECONDS = 3.0
MOST_PAUSED_SECONDS = 9.0
"""Waiting helps against heat and against a neighbour's burst of work, and against nothing that lasts longer."""


class Guard:
    """One process's memory of how fast its references are, and of what had to be repeated for them.

    `say` is told of every pause; `rest` waits a number of seconds.
    """

    def __init__(self, say: Callable[[str], None], rest: Callable[[float], None] = sleep) -> None:
        self._say, self._rest = say, rest
        self._seen: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=REMEMBERED))
        self._tries = 0
        self.rounds = 0
        self.repeated_rounds = 0
        self.paused_seconds = 0.0

    def accepts(self, reference_ms: Mapping[str, float]) -> bool:
        """Whether a round with these readings of the references (by key) counts; where not, it is to be taken again."""
        slowness = self._slowness(reference_ms)
        for key, milliseconds in reference_ms.items():
            self._seen[key].append(milliseconds)
        self._tries += 1
        allowed = FREE_REPEATS + REPEATS_A_ROUND * self.rounds
        if slowness <= SLOW or self._tries == TRIES or self.repeated_rounds >= allowed:
            self._tries = 0
            self.rounds += 1
            return True
        self.repeated_rounds += 1
        if self._tries > 1:
            self._pause(slowness)
        return False

    def _slowness(self, reference_ms: Mapping[str, float]) -> float:
        """The least over the references: a slow machine is slow for all of them, whatever their threads.

        One alone had a hiccup; two threads alone are slow where two processors are halves of one core, and that lasts.
        """
        known = {key: value for key, value in reference_ms.items() if len(self._seen[key]) >= FEWEST}
        ratios = [value / float(np.median(self._seen[key])) for key, value in known.items()]
        return min(ratios, default=1.0)

    def _pause(self, slowness: float) -> None:
        if self.paused_seconds + PAUSE_SECONDS > MOST_PAUSED_SECONDS:
            return
        percent = (slowness - 1) * 100
        self._say(f"the machine is {percent:.0f} % slower than it was: waiting {PAUSE_SECONDS:.0f} s before going on")
        self._rest(PAUSE_SECONDS)
        self.paused_seconds += PAUSE_SECONDS
