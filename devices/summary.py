"""What the samples of every model come to, as the clock said."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from devices.measurement import Measurement, Sample
from devices.workload import Workload


def _noise_percent(medians: Sequence[float], values: Sequence[float], p50: float) -> float:
    spread = medians if len(medians) > 1 else values
    return float(np.std(spread, ddof=1) / p50 * 100) if len(spread) > 1 else 0.0


def summarise(samples: Iterable[Sample]) -> dict[tuple[str, Workload], Measurement]:
    """One measurement a (key, workload)."""
    grouped: dict[tuple[str, Workload], dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for sample in samples:
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
