"""Profiling a device from start to end: measure the plan, fit the predictor, check it on fresh whole students."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from time import time
from typing import Any

import numpy as np

from devices.fingerprint import SCHEMA, Fingerprint, fingerprint
from devices.measurement import Measurement
from devices.store import SampleStore
from devices.target import open_target
from devices.workload import Workload
from export.items import Item, Stack, item_blocks
from export.lowering import LOWERING_VERSION
from predictor.evaluation import evaluate
from predictor.latency import LatencyPredictor
from predictor.observation import Observation
from profiler.folder import (
    DEVICE_FILE,
    PREDICTOR_FILE,
    REPORT_FILE,
    STORE_FILE,
    Profile,
    check_profile,
    find_profile,
    load_profile,
)
from profiler.plan import PROCESSES, Plan, plan_profile
from profiler.processes import measure_items
from profiler.report import write_report
from runs.errors import UserError
from runs.files import content_hash, write_json_atomic
from runs.folder import RunFolder, open_run
from runs.home import home_folder
from runs.progress import Progress

__all__ = ["Profile", "check_profile", "find_profile", "load_profile", "profile_device"]

Measurements = Mapping[tuple[str, Workload], Measurement]


def profile_device(
    target: str,
    workloads: Sequence[Workload] = (Workload(),),
    effort: str = "quick",
    folder: Path | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Profile:
    """Measure `target` and learn to predict its latencies; goes on with a profile begun before, or returns it.

    Without `folder` the profile goes to the home folder, under the target's name and a hash of what it depends on.
    Raises `UserError`, before anything is written, for a target or workload this machine does not have and a folder
    that is another run's.
    """
    progress = progress or Progress(quiet=True)
    place = open_target(target)
    if not place.clocked:
        raise UserError(
            f"target {target!r} replays a profile and cannot be profiled: its profile is the folder itself."
        )
    workloads = tuple(dict.fromkeys(workloads))
    for workload in workloads:
        place.check(workload)
    plan = plan_profile(effort, workloads, seed)
    mark = fingerprint(place, LOWERING_VERSION)
    settings = {
        "target": target,
        "workloads": [workload.to_json() for workload in workloads],
        "effort": effort,
        "seed": seed,
        "device": mark.comparable(),
    }
    folder = folder or home_folder("profiles") / f"{place.name}-{content_hash(settings)}"
    with open_run(folder, "profile", settings) as run:
        if not (folder / DEVICE_FILE).is_file():
            progress.say(
                f"profiling {target}, effort {effort}: {len(plan.items)} models, {PROCESSES} passes, into {folder}"
            )
            _fill(run, mark, plan, target, workloads, effort, seed, progress)
    return load_profile(folder)


def _fill(
    run: RunFolder,
    mark: Fingerprint,
    plan: Plan,
    target: str,
    workloads: tuple[Workload, ...],
    effort: str,
    seed: int,
    progress: Progress,
) -> None:
    """Measure, fit, check, and write the files; device.json comes last and says that the others are whole."""
    with SampleStore(run.path / STORE_FILE) as store:
        store.set_fingerprint(mark)

        def measured(progress: Progress | None) -> Measurements:
            return measure_items(
                plan.items,
                target,
                workloads,
                plan.policy,
                processes=PROCESSES,
                seed=seed,
                progress=progress,
                store=store,
                reference=plan.reference,
            )

        run.stage("measure", lambda: {"models": len(measured(progress))})
        # Nothing is missing now; this only sums up what the store holds.
        measurements = measured(None)
        samples = store.samples()

    def fitted() -> dict[str, Any]:
        progress.say("fitting the latency predictor")
        fit = observations(plan.fit, measurements)
        predictor = LatencyPredictor.fit(fit, seed=seed)
        predictor.save(run.path / PREDICTOR_FILE)
        return {"check": check_predictor(predictor, plan, measurements, workloads)}

    check = run.stage("fit", fitted)["check"]
    seconds = run.seconds("measure") + run.seconds("fit")
    write_report(
        run.path / REPORT_FILE,
        mark,
        plan,
        measurements,
        samples,
        LatencyPredictor.load(run.path / PREDICTOR_FILE),
        check,
    )
    device = {
        "schema": SCHEMA,
        "target": target,
        "fingerprint": mark.to_json(),
        "workloads": [workload.to_json() for workload in workloads],
        "effort": effort,
        "seed": seed,
        "policy": plan.policy.to_json(),
        "reference": plan.reference,
        "samples": len(samples),
        "check": check,
        "seconds": seconds,
        "finished_at": time(),
    }
    write_json_atomic(run.path / DEVICE_FILE, device)


def observations(items: Mapping[str, Item], measurements: Measurements) -> list[Observation]:
    """What the predictor learns from, or is checked on: the measured latency of each item's blocks."""
    found = []
    for (key, workload), measurement in measurements.items():
        if key in items:
            blocks = item_blocks(items[key])
            assert blocks is not None
            found.append(Observation(blocks, not isinstance(items[key], Stack), workload, measurement.p50_ms))
    return found


def check_predictor(
    predictor: LatencyPredictor, plan: Plan, measurements: Measurements, workloads: Sequence[Workload]
) -> dict[str, Any]:
    """By workload key: errors on the fresh students of the predictor and the baselines, and the noise floor."""
    fit, check = observations(plan.fit, measurements), observations(plan.check, measurements)
    found = {}
    for workload in workloads:
        mine, others = ([seen for seen in part if seen.workload == workload] for part in (check, fit))
        floors = [measurements[key, workload].noise_floor_percent for key in plan.check]
        found[workload.key] = {
            "students": len(mine),
            "noise_floor_percent": float(np.median(floors)),
            "errors": {name: asdict(errors) for name, errors in evaluate(predictor, others, mine).items()},
        }
    return found
