"""One timed sample, and what the samples of a model come to once the drift of the machine is divided out."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from devices.workload import Precision, Workload

Floats = npt.NDArray[np.float64]

REFERENCE_BATCH_SIZE = 1
REFERENCE_LENGTH = 128
"""Examples and tokens with which the reference runs, whatever is measured beside it."""

WINDOWS = (5, 15, 45)
"""Numbers of reference samples whose median may say how fast the machine was at a moment, beside all of a process; one
alone is as noisy as any sample."""


@dataclass(frozen=True)
class Cell:
    """What is measured: the item of that key under one workload of its own."""

    key: str
    workload: Workload


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

    def to_json(self) -> dict[str, Any]:
        """Plain numbers and names; `from_json` is the inverse."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Sample":
        """Read `to_json`'s form."""
        return cls(**{**value, "workload": Workload(**value["workload"])})


@dataclass(frozen=True)
class Turn:
    """What became of one process's turn at a batch of cells; (process, started_at) is unique.

    `repeated_rounds` were disturbed and taken again, `stolen_seconds` are those that a hypervisor gave to others,
    summed over cores, and `paused_seconds` were waited for a machine that had become slow.
    """

    process: int
    started_at: float
    seconds: float
    rounds: int
    repeated_rounds: int
    stolen_seconds: float
    paused_seconds: float

    def to_json(self) -> dict[str, Any]:
        """Plain numbers; `Turn(**value)` is the inverse."""
        return asdict(self)


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


def local_speed(reference: Sequence[Sample], moments: Floats, neighbours: int) -> Floats:
    """How slow one process was at each of `moments`: the median in ms of the reference samples nearest in time."""
    ordered = sorted(reference, key=lambda sample: sample.taken_at)
    times = np.array([sample.taken_at for sample in ordered])
    values = np.array(_values(ordered))
    width = min(neighbours, len(ordered))
    if width == len(ordered):
        return np.full(len(moments), np.median(values))
    centre = np.searchsorted(times, moments)
    first = np.clip(centre - width // 2, 0, len(ordered) - width)
    result: Floats = np.median(values[first[:, None] + np.arange(width)], axis=1)
    return result


def unpredicted(reference: Sequence[Sample], neighbours: int) -> Floats:
    """By how much, in log ms, each reference sample of a process differs from the median of its nearest others."""
    ordered = np.log([sample.milliseconds for sample in sorted(reference, key=lambda sample: sample.taken_at)])
    count = len(ordered)
    if neighbours >= count - 1:
        from_all: Floats = np.abs(ordered - np.median(ordered))
        return from_all
    first = np.clip(np.arange(count) - neighbours // 2, 0, count - neighbours - 1)
    places = first[:, None] + np.arange(neighbours + 1)
    others = places[places != np.arange(count)[:, None]].reshape(count, neighbours)
    result: Floats = np.abs(ordered - np.median(ordered[others], axis=1))
    return result


def drift_neighbours(references: Iterable[Sequence[Sample]]) -> int:
    """How many neighbours tell best how fast a machine was at a moment, over the processes of `references`.

    A drift that is there is followed closely; on a machine that does not drift, few neighbours would only add their
    own noise to every sample. The judge is how well reference samples are foretold by the others around them.
    """
    processes = list(references)

    def surprise(neighbours: int) -> float:
        return float(np.median(np.concatenate([unpredicted(process, neighbours) for process in processes])))

    return min((*WINDOWS, max(len(process) for process in processes)), key=surprise)


Circumstance = tuple[int, int, Precision]
"""Process, threads and precision: what makes the reference fast or slow beside the moment."""


def circumstance(sample: Sample) -> Circumstance:
    """Where a sample's reference samples are looked for."""
    return sample.process, sample.workload.threads, sample.workload.precision


def reference_workload(workload: Workload) -> Workload:
    """The workload under which the reference runs beside cells of `workload`: it has their threads and precision."""
    return replace(workload, batch_size=REFERENCE_BATCH_SIZE, sequence_length=REFERENCE_LENGTH)


def reference_samples(samples: Iterable[Sample], reference_key: str) -> dict[Circumstance, list[Sample]]:
    """The reference's own rounds by process, threads and precision; its key under other workloads is a cell like any
    other."""
    found: dict[Circumstance, list[Sample]] = defaultdict(list)
    for sample in samples:
        if sample.key == reference_key and sample.workload == reference_workload(sample.workload):
            found[circumstance(sample)].append(sample)
    return dict(found)


def usual_speeds(references: Mapping[Circumstance, Sequence[Sample]]) -> dict[tuple[int, Precision], float]:
    """The reference's ms by threads and precision: the median over processes of their medians."""
    medians: dict[tuple[int, Precision], list[float]] = defaultdict(list)
    for (_, threads, precision), samples in references.items():
        medians[threads, precision].append(float(np.median(_values(samples))))
    return {at: float(np.median(values)) for at, values in medians.items()}


def closeness(references: Mapping[Circumstance, Sequence[Sample]]) -> dict[tuple[int, Precision], int]:
    """By threads and precision: how many neighbours tell the speed of a moment best."""
    kinds: dict[tuple[int, Precision], list[Sequence[Sample]]] = defaultdict(list)
    for at, found in references.items():
        kinds[at[1:]].append(found)
    return {kind: drift_neighbours(processes) for kind, processes in kinds.items()}


def without_drift(samples: Iterable[Sample], reference_key: str) -> list[Sample]:
    """The samples as they would be had the machine always been as fast as in the median of its processes.

    Each is divided by the speed, at its moment in its process, of the reference on as many threads and in the same
    precision; samples beside which no such reference ran stay as they are.
    """
    groups: dict[Circumstance, list[Sample]] = defaultdict(list)
    for sample in samples:
        groups[circumstance(sample)].append(sample)
    references = reference_samples((sample for group in groups.values() for sample in group), reference_key)
    usual, neighbours = usual_speeds(references), closeness(references)
    corrected: list[Sample] = []
    for at, group in groups.items():
        if at not in references:
            corrected.extend(group)
            continue
        moments = np.array([sample.taken_at for sample in group])
        speeds = local_speed(references[at], moments, neighbours[at[1:]])
        for sample, speed in zip(group, speeds, strict=True):
            corrected.append(replace(sample, milliseconds=sample.milliseconds * usual[at[1:]] / float(speed)))
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
