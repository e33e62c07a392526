"""What was measured, read from the stores: rows that are learnt from, and rows that are asked for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from devices.disturbance import Disturbance, disturbances
from devices.measurement import Sample
from devices.stability import stability
from devices.stopwatch import Policy
from devices.store import SampleStore
from devices.summary import summarise
from devices.undisturbed import undisturbed
from export.items import Item, item_from_json, item_key
from prediction.figures import Row
from prediction.held_out import HeldOut, same_shape
from predictor.observation import Circumstances, Observation, circumstances
from profiler.folder import DEVICE_FILE, STORE_FILE
from profiler.observed import Measurements, measured_so_far, observations
from profiler.plan import PROCESSES
from profiler.population import is_check
from runs.errors import UserError
from runs.files import read_json
from students.spec import StudentSpec


def as_observation(row: Row) -> Observation:
    """The row as a predictor's own rows are."""
    return Observation(row.spec.blocks(), True, row.workload, row.undisturbed_ms)


def reference_speeds(measured: Measurements, reference: str) -> dict[Circumstances, float]:
    """Milliseconds of the reference at its fastest, for each threads and precision."""
    return {circumstances(at): found.process_ms[0] for (key, at), found in measured.items() if key == reference}


def held_out_rows(students: Sequence[HeldOut], samples: Sequence[Sample], reference: str) -> list[Row]:
    """The rows that all processes measured."""
    clocked, alone = summarise(samples), undisturbed(samples, reference)
    rows = []
    for one in students:
        key = item_key(one.spec)
        for workload in one.workloads:
            found = alone.get((key, workload))
            if found is not None and len(found.process_ms) == PROCESSES:
                clock = clocked[key, workload].p50_ms
                rows.append(Row(one.kind, key, one.spec, workload, found.latency_ms, clock, found.unsure_percent))
    return rows


@dataclass(frozen=True)
class Learnt:
    """What a target's profile measured for learning, as it is on an undisturbed machine.

    Read from the samples alone: neither the predictor nor the plan need be those of today.
    """

    device: Mapping[str, Any]
    """What the profile says of itself: `device.json`."""
    own: tuple[Observation, ...]
    """All rows that the profile's own predictor learns from."""
    rows: tuple[Observation, ...]
    """Those without students that are held out here, named shapes above all: what every contender learns from."""
    measured: Measurements
    disturbances: Mapping[Circumstances, Disturbance]
    """How much longer than undisturbed all of that usually took by the clock."""
    stability: str
    """How steady the machine was while the profile was made."""


def profile_rows(folder: Path, held_out: Sequence[HeldOut]) -> Learnt:
    """Read a finished profile; a `UserError` where it is not."""
    if not (folder / DEVICE_FILE).is_file():
        raise UserError(f"{folder} is not a finished profile: run --stage profile first.")
    device = read_json(folder / DEVICE_FILE, "device profile")
    with SampleStore(folder / STORE_FILE, read_only=True) as store:
        samples, turns = store.samples(), store.turns()
        processes = 1 + max(sample.process for sample in samples)
        visits = Policy(**device["policy"]).visits_among(processes)
        measured = measured_so_far(store, device["reference"], visits)
        items = {key: item_from_json(value) for key, value in store.items().items()}
    known = {key: item for key, item in items.items() if not is_check(item)}
    asked = {same_shape(one.spec) for one in held_out}
    kept = {key: item for key, item in known.items() if not _is_among(item, asked)}
    own, rows = (tuple(observations(some, measured)) for some in (known, kept))
    steadiness = stability(samples, device["reference"], turns)
    return Learnt(device, own, rows, measured, disturbances(samples, measured), steadiness.words)


def _is_among(item: Item, specs: set[StudentSpec]) -> bool:
    return isinstance(item, StudentSpec) and same_shape(item) in specs
