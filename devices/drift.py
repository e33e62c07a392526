"""How fast the machine was at each moment, as its reference saw it, and samples freed of that."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from devices.measurement import Sample
from devices.modes import in_usual_mode
from devices.reference import Circumstance, circumstance, reference_samples, usual_speeds
from devices.workload import Precision

Floats = npt.NDArray[np.float64]

WINDOWS = (5, 15, 45)
"""Numbers of reference samples whose median may say how fast the machine was at a moment, beside all of a process; one
alone is as noisy as any sample."""


def local_speed(reference: Sequence[Sample], moments: Floats, neighbours: int) -> Floats:
    """How slow one process was at each of `moments`: the median in ms of the reference samples nearest in time."""
    ordered = sorted(reference, key=lambda sample: sample.taken_at)
    times = np.array([sample.taken_at for sample in ordered])
    values = np.array([sample.milliseconds for sample in ordered])
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


def closeness(references: Mapping[Circumstance, Sequence[Sample]]) -> dict[tuple[int, Precision], int]:
    """By threads and precision: how many neighbours tell the speed of a moment best."""
    kinds: dict[tuple[int, Precision], list[Sequence[Sample]]] = defaultdict(list)
    for at, found in references.items():
        kinds[at[1:]].append(found)
    return {kind: drift_neighbours(processes) for kind, processes in kinds.items()}


def without_drift(samples: Sequence[Sample], reference_key: str) -> list[Sample]:
    """The samples, in their order, as they would be had the machine always been as fast as it usually is.

    Each is divided by the speed, at its moment in its process, of the reference on as many threads, in the same
    precision and in the same mode (`devices.modes`); samples beside which no such reference ran stay as they are.
    """
    groups: dict[tuple[Circumstance, bool], list[int]] = defaultdict(list)
    for place, usual_mode in enumerate(in_usual_mode(samples, reference_key)):
        groups[circumstance(samples[place]), bool(usual_mode)].append(place)
    references = reference_samples(samples, reference_key)
    usual = usual_speeds(references)
    beside = {
        (at, mode): reference_samples([samples[place] for place in places], reference_key).get(at)
        for (at, mode), places in groups.items()
    }
    neighbours = closeness({at: found for (at, mode), found in beside.items() if mode and found})
    corrected = list(samples)
    for (at, mode), places in groups.items():
        found = beside[at, mode]
        if not found or at[1:] not in neighbours:
            continue
        moments = np.array([samples[place].taken_at for place in places])
        speeds = local_speed(found, moments, neighbours[at[1:]])
        for place, speed in zip(places, speeds, strict=True):
            level = samples[place].milliseconds * usual[at[1:]] / float(speed)
            corrected[place] = replace(samples[place], milliseconds=level)
    return corrected
