"""How much longer models usually take on a machine than they would on it alone: from undisturbed latencies to clocked.

A predictor learns the former, and a budget is held against the latter.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from devices.measurement import Sample
from devices.summary import summarise
from devices.undisturbed import Undisturbed
from devices.workload import Precision, Workload

PERCENTILES = (5.0, 50.0, 95.0)
"""Of models: what `low`, `usual` and `high` are, so that nine in ten lie between the ends."""

Milliseconds = TypeVar("Milliseconds", float, npt.NDArray[np.float64])


@dataclass(frozen=True)
class Disturbance:
    """Clocked latency as a multiple of the undisturbed one: of half of the models it was `usual` or less.

    Nine in ten lie between `low` and `high`: what disturbs a machine does not disturb every model alike.
    """

    low: float = 1.0
    usual: float = 1.0
    high: float = 1.0

    @property
    def words(self) -> str:
        """In percent, for a sentence: `usually 6 % longer (3-13 %)`."""
        low, usual, high = (100 * (factor - 1) for factor in (self.low, self.usual, self.high))
        return f"usually {usual:.0f} % longer than on the machine alone (nine in ten of them {low:.0f}–{high:.0f} %)"

    def interval(
        self, low_ms: Milliseconds, middle_ms: Milliseconds, high_ms: Milliseconds
    ) -> tuple[Milliseconds, Milliseconds]:
        """Ends of a clocked latency's interval, from an undisturbed prediction and the ends of its own.

        How wrong a prediction is and how disturbed the model will be have nothing to do with each other, so in
        logarithms the distances from the middle add up by their squares.
        """
        below = np.hypot(np.log(middle_ms / low_ms), np.log(self.usual / self.low))
        above = np.hypot(np.log(high_ms / middle_ms), np.log(self.high / self.usual))
        clocked_ms = middle_ms * self.usual
        return clocked_ms * np.exp(-below), clocked_ms * np.exp(above)

    def to_json(self) -> dict[str, Any]:
        """Plain numbers; `Disturbance(**value)` is the inverse."""
        return asdict(self)


Disturbances = Mapping[tuple[int, Precision], Disturbance]
"""By threads and precision."""


def disturbances(samples: Iterable[Sample], alone: Mapping[tuple[str, Workload], Undisturbed]) -> Disturbances:
    """By threads and precision, over all (key, workload) in `alone`, whose samples are among those given."""
    clocked = summarise(samples)
    ratios: dict[tuple[int, Precision], list[float]] = defaultdict(list)
    for place, found in alone.items():
        workload = place[1]
        ratios[workload.threads, workload.precision].append(clocked[place].p50_ms / found.latency_ms)
    return {pair: Disturbance(*map(float, np.percentile(found, PERCENTILES))) for pair, found in sorted(ratios.items())}


def disturbances_to_json(found: Disturbances) -> list[dict[str, Any]]:
    """A row for each pair of threads and precision; `disturbances_from_json` is the inverse."""
    return [
        {"threads": threads, "precision": precision, "factors": factors.to_json()}
        for (threads, precision), factors in found.items()
    ]


def disturbances_from_json(rows: Iterable[Mapping[str, Any]]) -> Disturbances:
    """Read `disturbances_to_json`'s form."""
    return {(row["threads"], row["precision"]): Disturbance(**row["factors"]) for row in rows}
