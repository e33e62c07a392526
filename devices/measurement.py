"""One timed sample, and what the samples of a model come to once the drift of the machine is divided out."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from devices.workload import Workload

Floats = npt.NDArray[np.float64]

NEIGHBOURS = 5
"""Reference samples whose median says how fast the machine was at a moment; one alone is as noisy as any sample."""


@dataclass(frozen=True)
class Sample:
    """The median duration of a few runs in a row, `taken_at` seconds since 1970; (key, workload, process, round) is
    unique."""

    key: str
    workload: Workload
    process: int
    round: int
    milliseconds: float
    taken_at: float


@dataclass(frozen=True)
class Measurement:
    """`p50_ms` is the median of the process medians; `p90_ms` the 90th percentile of all samples.

    The noise floor is the standard deviation of the process medians (of the samples, where one process ran) in percent
    of `p50_ms`: two latencies closer than that cannot be told apart.
    """

    key: str
    workload: Workload
    p50_ms: float
    p90_ms: float
    process_medians_ms: tuple[float, ...]
    noise_floor_percent: float
    samples: int

    def to_json(self) -> dict[str, Any]:
        """Plain numbers and names."""
        return {**asdict(self), "process_medians_ms": list(self.process_medians_ms)}


def local_speed(reference: Sequence[Sample], moments: Floats) -> Floats:
    """How slow one process was at each of `moments`: the median in ms of the reference samples nearest in time."""
    ordered = sorted(reference, key=lambda sample: sample.taken_at)
    times = np.array([sample.taken_at for sample in ordered])
    values = np.array([sample.milliseconds for sample in ordered])
    width = min(NEIGHBOURS, len(ordered))
    centre = np.searchsorted(times, moments)
    first = np.clip(centre - width // 2, 0, len(ordered) - width)
    windows = values[first[:, None] + np.arange(width)]
    result: Floats = np.median(windows, axis=1)
    return result


def without_drift(samples: Iterable[Sample], reference_key: str) -> list[Sample]:
    """The samples as they would be had the machine always been as fast as in the median of its processes.

    Each is divided by the reference's speed at its moment in its process; samples of a process or workload in which
    the reference did not run stay as they are.
    """
    groups: dict[tuple[Workload, int], list[Sample]] = defaultdict(list)
    for sample in samples:
        groups[sample.workload, sample.process].append(sample)
    references = {at: [sample for sample in group if sample.key == reference_key] for at, group in groups.items()}
    usual = {
        workload: float(
            np.median([np.median(_values(found)) for at, found in references.items() if at[0] == workload and found])
        )
        for workload, _ in references
        if any(found for at, found in references.items() if at[0] == workload)
    }
    corrected: list[Sample] = []
    for at, group in groups.items():
        if not references[at]:
            corrected.extend(group)
            continue
        speeds = local_speed(references[at], np.array([sample.taken_at for sample in group]))
        for sample, speed in zip(group, speeds, strict=True):
            scaled = sample.milliseconds * usual[at[0]] / float(speed)
            corrected.append(Sample(sample.key, sample.workload, sample.process, sample.round, scaled, sample.taken_at))
    return corrected


def _values(samples: Iterable[Sample]) -> list[float]:
    return [sample.milliseconds for sample in samples]


def _noise_percent(medians: Sequence[float], values: Sequence[float], p50: float) -> float:
    spread = medians if len(medians) > 1 else values
    return float(np.std(spread, ddof=1) / p50 * 100) if len(spread) > 1 else 0.0


def summarise(samples: Iterable[Sample], reference_key: str | None = None) -> dict[tuple[str, Workload], Measurement]:
    """One measurement a (key, workload); with a reference, the drift it saw is divided out first."""
    used = list(samples) if reference_key is None else without_drift(samples, reference_key)
    grouped: dict[tuple[str, Workload], dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for sample in used:
        grouped[sample.key, sample.workload][sample.process].append(sample.milliseconds)
    found = {}
    for (key, workload), processes in grouped.items():
        medians = tuple(float(np.median(processes[process])) for process in sorted(processes))
        values = [value for process in processes.values() for value in process]
        p50 = float(np.median(medians))
        noise = _noise_percent(medians, values, p50)
        p90 = float(np.percentile(values, 90))
        found[key, workload] = Measurement(key, workload, p50, p90, medians, noise, len(values))
    return found
