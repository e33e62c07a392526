"""The block that runs in every round beside all else, and tells how fast the machine was then."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from devices.measurement import Sample
from devices.workload import Precision, Workload

REFERENCE_BATCH_SIZE = 1
REFERENCE_LENGTH = 128
"""Examples and tokens with which the reference runs, whatever is measured beside it."""

Circumstance = tuple[int, int, Precision]
"""Process, threads and precision: what makes the reference fast or slow beside the moment."""


def reference_workload(workload: Workload) -> Workload:
    """The workload under which the reference runs beside cells of `workload`: it has their threads and precision."""
    return replace(workload, batch_size=REFERENCE_BATCH_SIZE, sequence_length=REFERENCE_LENGTH)


def circumstance(sample: Sample) -> Circumstance:
    """Where a sample's reference samples are looked for."""
    return sample.process, sample.workload.threads, sample.workload.precision


def reference_samples(samples: Iterable[Sample], reference_key: str) -> dict[Circumstance, list[Sample]]:
    """The reference's own rounds by process, threads and precision; its key under other workloads is a cell like any
    other."""
    found: dict[Circumstance, list[Sample]] = defaultdict(list)
    for sample in samples:
        if sample.key == reference_key and sample.workload == reference_workload(sample.workload):
            found[circumstance(sample)].append(sample)
    return dict(found)


def fastest_ms(references: Mapping[Circumstance, Sequence[Sample]]) -> dict[tuple[int, Precision], float]:
    """The reference's fastest sample over all processes, by threads and precision."""
    found: dict[tuple[int, Precision], float] = {}
    for (_, threads, precision), samples in references.items():
        fastest = min(sample.milliseconds for sample in samples)
        found[threads, precision] = min(fastest, found.get((threads, precision), fastest))
    return found
