"""What the samples of every model come to."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from devices.drift import without_drift
from devices.measurement import Measurement, Sample
from devices.modes import counting
from devices.workload import Workload


def _level(samples: Sequence[Sample], reference_key: str) -> list[Sample]:
    counted = counting(samples, reference_key)
    return [sample for sample, counts in zip(without_drift(samples, reference_key), counted, strict=True) if counts]


def _noise_percent(medians: Sequence[float], values: Sequence[float], p50: float) -> float:
    spread = medians if len(medians) > 1 else values
    return float(np.std(spread, ddof=1) / p50 * 100) if len(spread) > 1 else 0.0


def processes_of(samples: Iterable[Sample]) -> dict[tuple[str, Workload], int]:
    """In how many processes each (key, workload) was timed, whether its samples count or not."""
    found: dict[tuple[str, Workload], set[int]] = defaultdict(set)
    for sample in samples:
        found[sample.key, sample.workload].add(sample.process)
    return {place: len(processes) for place, processes in found.items()}


def summarise(samples: Iterable[Sample], reference_key: str | None = None) -> dict[tuple[str, Workload], Measurement]:
    """One measurement a (key, workload); with a reference, the drift it saw is divided out first.

    Samples that the reference says were taken while the machine was another one (`devices.modes`) do not count.
    """
    used = list(samples) if reference_key is None else _level(list(samples), reference_key)
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
