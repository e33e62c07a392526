"""What is measured for the benchmark: the profiles, and the students held out of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from devices.fingerprint import fingerprint
from devices.stopwatch import Policy
from devices.store import SampleStore
from devices.target import open_target
from export.items import Item, item_from_json
from export.lowering import LOWERING_VERSION
from prediction.held_out import HeldOut, cells_of, held_out_students
from prediction.places import Place
from profiler.folder import DEVICE_FILE, STORE_FILE
from profiler.plan import PROCESSES
from profiler.processes import measure_cells
from profiler.profile import profile_device
from profiler.workloads import WorkloadRange, workload_range
from runs.errors import UserError
from runs.files import read_json
from runs.folder import RUN_FILE, RunFolder, open_run
from runs.progress import Progress

KIND = "held-out students"
DRAWN, MEASURED = "draw", "measure"
LENGTHS = "16-512"
TRUTH = {"rounds": 3, "extra_rounds": 0, "visits": None, "retakes": 6}
"""Of the policy: a profile may divide its time among many models, but what they are judged by has to be sure. Further
rounds are for those that had no quiet moment in two processes, and not for all whose median a busy hour spreads."""


@dataclass(frozen=True)
class Asked:
    """What the user wants measured; without precisions all that a target has here."""

    effort: str
    profile_minutes: float | None
    students: int
    seed: int
    batch_sizes: tuple[int, ...]
    threads: tuple[int, ...]
    precisions: tuple[str, ...]


def range_here(asked: Asked, target: str) -> WorkloadRange:
    """Every length with the threads and precisions asked for; a target's own check is the profile's."""
    precisions = asked.precisions or open_target(target).precisions_here()
    return workload_range([LENGTHS], asked.batch_sizes, asked.threads, precisions)


def measure_profile(target: str, folder: Path, asked: Asked, progress: Progress) -> None:
    """Make a profile, or finish one."""
    among = range_here(asked, target)
    profile_device(target, among, asked.effort, folder, progress=progress, minutes=asked.profile_minutes)


def held_out_settings(place: Place, asked: Asked) -> dict[str, Any]:
    """What has to be equal for the measuring of held-out students to go on."""
    device = read_json(place.profile / DEVICE_FILE)
    return {
        "target": place.target,
        "students": asked.students,
        "seed": asked.seed,
        "workloads": range_here(asked, place.target).to_json(),
        "policy": {**device["policy"], **TRUTH},
        "reference": device["reference"],
        "device": fingerprint(open_target(place.target), LOWERING_VERSION).comparable(),
    }


def measure_held_out(place: Place, asked: Asked, progress: Progress) -> None:
    """Time the students, and the profile's reference beside them, in processes of their own."""
    settings = held_out_settings(place, asked)
    with open_run(place.held_out, KIND, settings) as run:
        run.stage(DRAWN, lambda: _draw(run.settings))
        run.stage(MEASURED, lambda: _measure(run, place, progress))


def _draw(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The students, written down, since a later version may draw others."""
    among = WorkloadRange.from_json(settings["workloads"])
    students = held_out_students(settings["students"], settings["seed"], among)
    return {"students": [one.to_json() for one in students]}


def read_held_out(folder: Path) -> tuple[Mapping[str, Any], list[HeldOut]]:
    """Settings and students of a run that has been begun; a `UserError` where none has."""
    record = read_json(folder / RUN_FILE, KIND)
    if DRAWN not in record["stages"]:
        raise UserError(f"{folder} has no students yet: run --stage held-out first.")
    return record["settings"], [HeldOut.from_json(one) for one in record["stages"][DRAWN]["result"]["students"]]


def _measure(run: RunFolder, place: Place, progress: Progress) -> dict[str, Any]:
    settings = run.settings
    items, cells = cells_of(read_held_out(run.path)[1])
    with SampleStore(place.profile / STORE_FILE, read_only=True) as learnt:
        key = settings["reference"]
        reference: dict[str, Item] = {key: item_from_json(learnt.items()[key])}
    with SampleStore(run.path / STORE_FILE) as store:
        store.set_fingerprint(fingerprint(open_target(place.target), LOWERING_VERSION))
        measure_cells(
            {**reference, **items},
            cells,
            place.target,
            Policy(**settings["policy"]),
            processes=PROCESSES,
            seed=settings["seed"],
            progress=progress,
            store=store,
            reference=key,
        )
        samples = store.samples()
    return {
        "samples": len(samples),
        "started_at": min(sample.taken_at for sample in samples),
        "finished_at": max(sample.taken_at for sample in samples),
    }
