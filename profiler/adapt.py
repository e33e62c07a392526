"""A known device's predictor moved to a new target or workload by a few measurements."""

from pathlib import Path
from time import time
from typing import Any

import numpy as np

from devices.fingerprint import fingerprint
from devices.measurement import Cell
from devices.store import SampleStore
from export.items import Item, item_key
from export.lowering import LOWERING_VERSION
from predictor.circumstances import FEWEST_ADAPTED
from profiler.active import Candidate, coordinates, spread_out
from profiler.evidence import read_evidence
from profiler.folder import (
    ADAPTED,
    DEVICE_FILE,
    FITTED,
    OUTDATED,
    PREDICTOR_FILE,
    STORE_FILE,
    Profile,
    is_outdated,
    load_profile,
)
from profiler.observed import observations
from profiler.outcome import Subject, budget_of, check_predictor, write_outcome
from profiler.plan import (
    CHECK_CELLS,
    EFFORTS,
    REFERENCE,
    Allotment,
    Plan,
    affordable,
    fresh_students,
    positions_for,
)
from profiler.population import POPULATIONS, Drawing
from profiler.processes import measure_cells
from profiler.profile import clocked_target, profile_folder
from profiler.timetable import busy_seconds
from profiler.workloads import WorkloadRange
from runs.errors import UserError
from runs.folder import RunFolder, open_run
from runs.progress import Progress

EFFORT = "standard"
"""Whose policy and limits hold: the measurements are few, so they are made well."""

FEWEST_SAMPLES = 5
CHECK_STUDENTS = 12
POOL = {"hybrid": 240, "kd-nas": 24, "named": 100}
"""Students among which the samples are chosen, by population."""


def adapt_profile(
    base: Path,
    target: str,
    workloads: WorkloadRange | None = None,
    samples: int = 20,
    folder: Path | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Profile:
    """A profile of `target` from the predictor of the profile in `base` and `samples` measurements of whole students.

    Checked on fresh students like any other. Raises `UserError`, before anything is written, for what `profile_device`
    raises it for, a base that is no profile, and too few samples.
    """
    progress = progress or Progress(quiet=True)
    workloads = workloads or WorkloadRange()
    known = load_profile(base)
    if workloads.earlier_tokens or known.workloads.earlier_tokens:
        raise UserError(
            "--adapt-from moves profiles of whole texts alone, not of those with --earlier-tokens: profile the target "
            "without it."
        )
    place = clocked_target(target, workloads)
    pairs = len(list(workloads.parts()))
    fewest = max(FEWEST_SAMPLES, FEWEST_ADAPTED * pairs)
    if samples < fewest:
        raise UserError(
            f"--samples is {samples}: to adapt to {pairs} pair{'s' if pairs > 1 else ''} of threads and precision "
            f"takes at least {fewest}."
        )
    plan = plan_adaptation(workloads, samples, seed)
    mark = fingerprint(place, LOWERING_VERSION)
    origin = {
        "folder": str(base.absolute()),
        "target": known.target,
        "processor": known.fingerprint.processor,
        "workloads": known.workloads.key,
        "finished_at": known.finished_at,
        "samples": samples,
    }
    settings = {
        "target": target,
        "workloads": workloads.to_json(),
        "adapted_from": origin,
        "seed": seed,
        "device": mark.comparable(),
    }
    folder = folder or profile_folder(target, settings)
    subject = Subject(target, mark, workloads, ADAPTED, seed, plan.policy, plan.reference, origin)
    with open_run(folder, "profile", settings) as run:
        if is_outdated(folder):
            progress.say(OUTDATED.format(folder))
            _fill(run, subject, plan, known, progress)
        elif not (folder / DEVICE_FILE).is_file():
            progress.say(
                f"adapting the profile of {known.target} to {target} with {len(plan.cells)} measurements, into {folder}"
            )
            _fill(run, subject, plan, known, progress)
    return load_profile(folder)


def plan_adaptation(workloads: WorkloadRange, samples: int, seed: int) -> Plan:
    """Whole students spread over sizes and shapes, each on one workload, and fresh ones for the check."""
    effort = EFFORTS[EFFORT]
    drawing = Drawing((seed, 21), positions=positions_for(workloads), wanted=affordable(workloads, effort.most_flops))
    drawn: list[Item] = [item for kind, count in POOL.items() for item in POPULATIONS[kind](count, drawing)]
    allotment = Allotment(workloads, effort.most_flops, np.random.default_rng([seed, 22]))
    pool = [
        Candidate(item, (Cell(item_key(item), workload),))
        for item in drawn
        for workload in allotment.workloads(item, 1)
    ]
    chosen: list[Candidate] = []
    parts = list(workloads.parts())
    for number, part in enumerate(parts):
        among = [one for one in pool if part.holds(one.cells[0].workload)]
        points = coordinates([one.asked()[0] for one in among])
        taken = coordinates([one.asked()[0] for one in chosen]) if chosen else np.empty((0, points.shape[1]))
        count = samples // len(parts) + (number < samples % len(parts))
        chosen += [among[place] for place in spread_out(points, np.ones(len(among)), taken, count)]
    fit = {item_key(one.item): one.item for one in chosen} | {item_key(REFERENCE): REFERENCE}
    check = fresh_students(CHECK_STUDENTS, fit, workloads, seed, effort.most_flops)
    fresh = Allotment(workloads, effort.most_flops, np.random.default_rng([seed, 23]))
    return Plan(
        fit,
        check,
        tuple(one.cells[0] for one in chosen),
        tuple(cell for item in check.values() for cell in fresh.cells(item, CHECK_CELLS)),
        item_key(REFERENCE),
        effort.policy,
        effort.processes,
    )


def _fill(run: RunFolder, subject: Subject, plan: Plan, known: Profile, progress: Progress) -> None:
    with SampleStore(run.path / STORE_FILE) as store:
        store.set_fingerprint(subject.mark)
        began = time() - busy_seconds(store.samples())

        def measured() -> dict[str, Any]:
            found = measure_cells(
                plan.items,
                [*plan.cells, *plan.check_cells],
                subject.target,
                plan.policy,
                processes=plan.processes,
                seed=subject.seed,
                progress=progress,
                store=store,
                reference=plan.reference,
            )
            return {"cells": len(found)}

        run.stage("measure", measured)
        evidence = read_evidence(store, plan.reference, plan.visits)

    def fitted() -> dict[str, Any]:
        seen = [one for one in observations(evidence.fit, evidence.measurements) if one.whole]
        predictor = known.predictor.adapt(seen)
        predictor.save(run.path / PREDICTOR_FILE)
        check = check_predictor(predictor, evidence, subject.workloads)
        return {
            "check": check,
            "error_budget": budget_of(evidence, check, None).to_json(),
            "seconds": time() - began,
        }

    write_outcome(run, subject, evidence, run.stage(FITTED, fitted), ())
