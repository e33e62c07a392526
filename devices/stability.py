"""How stable a machine was while it was measured, in numbers and in words, as its reference block saw it."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from devices.drift import closeness, local_speed
from devices.measurement import Sample, Turn
from devices.modes import in_usual_mode
from devices.reference import Circumstance, reference_samples, usual_speeds
from devices.summary import summarise

LIMITS: dict[str, tuple[float, float]] = {
    "drift_percent": (4.0, 12.0),
    "jitter_percent": (2.0, 5.0),
    "process_percent": (2.5, 6.0),
    "other_mode_percent": (5.0, 25.0),
    "repeated_percent": (5.0, 20.0),
    "stolen_percent": (1.0, 5.0),
}
"""Beyond the first a machine is uneasy, beyond the second unsteady: rules of thumb from machines measured so far."""

STATES = ("steady", "uneasy", "unsteady")

References = Mapping[Circumstance, Sequence[Sample]]

NORMAL_DEVIATION = 1.4826
"""Standard deviations in a median absolute deviation of normal noise."""


@dataclass(frozen=True)
class Stability:
    """What moved while the same block ran again and again; percentages are the worst over threads and precisions.

    `drift_percent`: from the fastest to the slowest twentieth of the run, within a process, as far as it is more than
    jitter. `jitter_percent`: from round to round. `process_percent`: of the process medians. `other_mode_percent`: of
    the time, in which the machine was another one (`devices.modes`); the three before are of the rest.
    `other_mode_factor`: how many times as long the block took then. `noise_floor_percent`: median over everything
    measured, with the drift divided out. `stolen_percent`: of one core's time, by a hypervisor.
    """

    drift_percent: float
    jitter_percent: float
    process_percent: float
    other_mode_percent: float
    other_mode_factor: float
    noise_floor_percent: float
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
        share, factor = f"{self.other_mode_percent:.0f} % of the time", f"{self.other_mode_factor:.2f}"
        mode = f"{share} at another speed, {factor} times the usual duration" if self.other_mode_percent >= 0.5 else ""
        events = ", ".join(event for event in (mode, again, stolen, paused) if event)
        return (
            f"{self.state}: over {self.minutes:.1f} minutes the reference moved by {self.drift_percent:.1f} %, "
            f"from round to round by {self.jitter_percent:.1f} % and from process to process by "
            f"{self.process_percent:.1f} %; what is left between processes is {self.noise_floor_percent:.1f} %; "
            f"{events or 'nothing was disturbed'}."
        )

    def to_json(self) -> dict[str, Any]:
        """The numbers, the state and the words."""
        return {**asdict(self), "state": self.state, "words": self.words}


def _other_mode(references: References, usual_mode: References) -> tuple[float, float]:
    """Of which share of its samples the reference was in another mode, and how many times as long it took then.

    Both of the threads and precision with the largest share.
    """
    usual = usual_speeds(references)
    found = {}
    for kind in usual:
        everything, kept = (
            {sample for at, samples in some.items() if at[1:] == kind for sample in samples}
            for some in (references, usual_mode)
        )
        others = [sample.milliseconds / usual[kind] for sample in everything - kept]
        found[kind] = len(others) / len(everything), float(np.median(others)) if others else 1.0
    return max(found.values())


def stability(samples: Sequence[Sample], reference_key: str, turns: Iterable[Turn] = ()) -> Stability:
    """What the reference's samples and the processes' turns say about the machine.

    Raises `ValueError` where the reference has no samples of its own.
    """
    everything = reference_samples(samples, reference_key)
    if not everything:
        raise ValueError(f"{reference_key} has no samples under a reference workload")
    own = [sample for found in everything.values() for sample in found]
    flags = in_usual_mode(own, reference_key)
    usual = [sample for sample, in_usual in zip(own, flags, strict=True) if in_usual]
    references = reference_samples(usual, reference_key)
    share, factor = _other_mode(everything, references)
    neighbours = closeness(references)
    drifts, jitters = [], []
    medians: dict[tuple[int, str], list[float]] = defaultdict(list)
    for (_, threads, precision), found in references.items():
        ordered = sorted(found, key=lambda sample: sample.taken_at)
        values = np.array([sample.milliseconds for sample in ordered])
        speeds = local_speed(found, np.array([sample.taken_at for sample in found]), neighbours[threads, precision])
        slow, fast = np.percentile(speeds, [95, 5])
        drifts.append((slow - fast) / np.median(speeds) * 100)
        # Neighbours in time differ by √2 of the noise of each, whatever drifts more slowly.
        steps = np.diff(values) / np.median(values) if len(values) > 1 else np.zeros(1)
        jitters.append(NORMAL_DEVIATION * np.median(np.abs(steps)) / np.sqrt(2) * 100)
        medians[threads, precision].append(float(np.median(values)))
    spreads = [np.std(found, ddof=1) / np.median(found) * 100 for found in medians.values() if len(found) > 1]
    # The reference itself has none left once its own drift is divided out.
    floors = [
        measured.noise_floor_percent
        for (key, _), measured in summarise(samples, reference_key).items()
        if key != reference_key
    ]
    taken = [sample.taken_at for sample in samples]
    past = list(turns)
    seconds = sum(turn.seconds for turn in past)
    return Stability(
        drift_percent=float(max(drifts)),
        jitter_percent=float(max(jitters)),
        process_percent=float(max(spreads, default=0.0)),
        other_mode_percent=100 * share,
        other_mode_factor=factor,
        noise_floor_percent=float(np.median(floors)) if floors else 0.0,
        rounds=sum(turn.rounds for turn in past),
        repeated_rounds=sum(turn.repeated_rounds for turn in past),
        stolen_percent=100.0 * sum(turn.stolen_seconds for turn in past) / seconds if seconds else 0.0,
        paused_seconds=sum(turn.paused_seconds for turn in past),
        minutes=(max(taken) - min(taken)) / 60,
    )
