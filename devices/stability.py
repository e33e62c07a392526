"""How stable a machine was while it was measured, in numbers and in words, as its reference block saw it."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from devices.measurement import Sample, Turn
from devices.reference import fastest_ms, reference_samples
from devices.undisturbed import undisturbed

LIMITS: dict[str, tuple[float, float]] = {
    "drift_percent": (4.0, 12.0),
    "jitter_percent": (2.0, 5.0),
    "process_percent": (2.5, 6.0),
    "slower_percent": (6.0, 15.0),
    "repeated_percent": (5.0, 20.0),
    "stolen_percent": (1.0, 5.0),
}
"""Beyond the first a machine is uneasy, beyond the second unsteady: rules of thumb from machines measured so far."""

STATES = ("steady", "uneasy", "unsteady")

WINDOW = 45
"""Rounds whose median is the speed of a moment, since one alone is as noisy as any; of a short run one in `PARTS`."""

PARTS = 4

NORMAL_DEVIATION = 1.4826
"""Standard deviations in a median absolute deviation of normal noise."""


@dataclass(frozen=True)
class Stability:
    """What moved while the same block ran again and again; percentages are the worst over threads and precisions.

    `drift_percent`: from the fastest to the slowest twentieth of the run, within a process, as far as it is more than
    jitter. `jitter_percent`: from round to round. `process_percent`: of the process medians. `slower_percent`: how much
    longer than at its fastest the block usually took. `unsure_percent`: median of what the undisturbed latencies of all
    models are unsure by (`devices.undisturbed`). `stolen_percent`: of one core's time, by a hypervisor.
    """

    drift_percent: float
    jitter_percent: float
    process_percent: float
    slower_percent: float
    unsure_percent: float
    rounds: int
    repeated_rounds: int
    stolen_percent: float
    paused_seconds: float
    minutes: float

    @property
    def repeated_percent(self) -> float:
        """Rounds that were taken again, in percent of those that count."""
        return 100.0 * self.repeated_rounds / max(self.rounds, 1)

    @property
    def state(self) -> str:
        """One of `STATES`, the worst that a number asks for."""
        return STATES[max(sum(getattr(self, name) > limit for limit in limits) for name, limits in LIMITS.items())]

    @property
    def words(self) -> str:
        """One sentence."""
        again = f"{self.repeated_rounds} of {self.rounds} rounds taken again" if self.repeated_rounds else ""
        stolen = f"{self.stolen_percent:.1f} % of a core stolen by other machines" if self.stolen_percent >= 0.1 else ""
        paused = f"{self.paused_seconds:.0f} s waited for it to recover" if self.paused_seconds else ""
        events = ", ".join(event for event in (again, stolen, paused) if event)
        return (
            f"{self.state}: over {self.minutes:.1f} minutes the reference moved by {self.drift_percent:.1f} %, "
            f"from round to round by {self.jitter_percent:.1f} % and from process to process by "
            f"{self.process_percent:.1f} %, and usually took {self.slower_percent:.1f} % longer than at its fastest; "
            f"models at their fastest differ by {self.unsure_percent:.1f} % between two processes; "
            f"{events or 'nothing was disturbed'}."
        )

    def to_json(self) -> dict[str, Any]:
        """The numbers, the state and the words."""
        return {**asdict(self), "state": self.state, "words": self.words}


def _smoothed(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The running median [n] of values in the order of time: what moved more slowly than from round to round."""
    width = min(WINDOW, max(len(values) // PARTS, 1))
    first = np.clip(np.arange(len(values)) - width // 2, 0, len(values) - width)
    result: npt.NDArray[np.float64] = np.median(values[first[:, None] + np.arange(width)], axis=1)
    return result


def stability(samples: Sequence[Sample], reference_key: str, turns: Iterable[Turn] = ()) -> Stability:
    """What the reference's samples and the processes' turns say about the machine.

    Raises `ValueError` where the reference has no samples of its own.
    """
    references = reference_samples(samples, reference_key)
    if not references:
        raise ValueError(f"{reference_key} has no samples under a reference workload")
    drifts, jitters, slower = [], [], []
    floors = fastest_ms(references)
    medians: dict[tuple[int, str], list[float]] = defaultdict(list)
    for (_, threads, precision), found in references.items():
        ordered = sorted(found, key=lambda sample: sample.taken_at)
        values = np.array([sample.milliseconds for sample in ordered])
        speeds = _smoothed(values)
        slow, fast = np.percentile(speeds, [95, 5])
        slower.append((float(np.median(values)) / floors[threads, precision] - 1) * 100)
        drifts.append((slow - fast) / np.median(speeds) * 100)
        # Neighbours in time differ by √2 of the noise of each, whatever drifts more slowly.
        steps = np.diff(values) / np.median(values) if len(values) > 1 else np.zeros(1)
        jitters.append(NORMAL_DEVIATION * np.median(np.abs(steps)) / np.sqrt(2) * 100)
        medians[threads, precision].append(float(np.median(values)))
    spreads = [np.std(found, ddof=1) / np.median(found) * 100 for found in medians.values() if len(found) > 1]
    unsure = [one.unsure_percent for (key, _), one in undisturbed(samples).items() if key != reference_key]
    taken = [sample.taken_at for sample in samples]
    past = list(turns)
    seconds = sum(turn.seconds for turn in past)
    return Stability(
        drift_percent=float(max(drifts)),
        jitter_percent=float(max(jitters)),
        process_percent=float(max(spreads, default=0.0)),
        slower_percent=float(max(slower)),
        unsure_percent=float(np.median(unsure)) if unsure else 0.0,
        rounds=sum(turn.rounds for turn in past),
        repeated_rounds=sum(turn.repeated_rounds for turn in past),
        stolen_percent=100.0 * sum(turn.stolen_seconds for turn in past) / seconds if seconds else 0.0,
        paused_seconds=sum(turn.paused_seconds for turn in past),
        minutes=(max(taken) - min(taken)) / 60,
    )
