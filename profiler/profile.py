"""Profiling a device from start to end: measure the plan and what is unsure, fit the predictor, check it on others."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from time import time
from typing import Any

from devices.fingerprint import fingerprint
from devices.stopwatch import Policy
from devices.store import SampleStore
from devices.target import Target, open_target
from export.lowering import LOWERING_VERSION, runs_no_cache
from predictor.latency import LatencyPredictor
from profiler.active import form_committee
from profiler.evidence import read_evidence
from profiler.folder import (
    DEVICE_FILE,
    FITTED,
    OUTDATED,
    PREDICTOR_FILE,
    STORE_FILE,
    Profile,
    check_profile,
    find_profile,
    is_outdated,
    load_profile,
)
from profiler.gathering import Work, gather
from profiler.measuring_process import Crew
from profiler.observed import observations
from profiler.outcome import Subject, budget_of, check_predictor, write_outcome
from profiler.plan import EFFORTS, Plan, plan_profile
from profiler.timetable import Timetable, busy_seconds
from profiler.workloads import WorkloadRange
from runs.errors import UserError
from runs.files import content_hash, read_json
from runs.folder import RunFolder, open_run
from runs.home import home_folder
from runs.progress import Progress, duration_text

__all__ = ["Profile", "check_profile", "find_profile", "load_profile", "profile_device"]

FEWEST_MINUTES = 1.0


def profile_device(
    target: str,
    workloads: WorkloadRange | None = None,
    effort: str = "quick",
    folder: Path | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    *,
    minutes: float | None = None,
    error_percent: float | None = None,
) -> Profile:
    """Measure `target` and learn to predict its latencies; goes on with a profile begun before, or returns it.

    One that an older version made is learnt anew from what it measured, whatever is planned today. Another takes the
    effort's time at most, or `minutes`, and ends before where the mean error on held-out folds is `error_percent` or
    less. Without `folder` the profile goes to the home folder, under the target's name and a hash of what it depends
    on. Raises `UserError`, before anything is written, for a target or workload this machine does not have and a folder
    that is another run's.
    """
    progress = progress or Progress(quiet=True)
    workloads = workloads or WorkloadRange()
    for name, value, least in (("--minutes", minutes, FEWEST_MINUTES), ("--error-percent", error_percent, 0.0)):
        if value is not None and not value >= least:
            raise UserError(f"{name} is {value:g}: it must be at least {least:g}.")
    place = clocked_target(target, workloads)
    plan = plan_profile(effort, workloads, seed)
    mark = fingerprint(place, LOWERING_VERSION)
    settings = {
        "target": target,
        "workloads": workloads.to_json(),
        "effort": effort,
        "minutes": minutes,
        "error_percent": error_percent,
        "seed": seed,
        "device": mark.comparable(),
    }
    folder = folder or profile_folder(target, settings)
    subject = Subject(target, mark, workloads, effort, seed, plan.policy, plan.reference)
    with open_run(folder, "profile", settings) as run:
        if is_outdated(folder):
            progress.say(OUTDATED.format(folder))
            device = read_json(folder / DEVICE_FILE)
            then = replace(subject, policy=Policy(**device["policy"]), reference=device["reference"])
            _learn(run, then, plan.processes, device["rounds"], time() - device["seconds"], progress)
        elif not (folder / DEVICE_FILE).is_file():
            limit_seconds = 60 * (EFFORTS[effort].minutes if minutes is None else minutes)
            progress.say(
                f"profiling {target}, effort {effort}: {len(plan.fit)} models on {len(plan.cells)} workloads planned, "
                f"{plan.processes} processes, at most {duration_text(limit_seconds)}, into {folder}"
            )
            _fill(run, subject, plan, limit_seconds, error_percent, progress)
    return load_profile(folder)


def clocked_target(target: str, workloads: WorkloadRange) -> Target:
    """The target, where it can be timed on all workloads of the range; else a `UserError`."""
    place = open_target(target)
    if not place.clocked:
        raise UserError(
            f"target {target!r} replays a profile and cannot be profiled: its profile is the folder itself."
        )
    if workloads.earlier_tokens and place.artifact == "torch":
        raise runs_no_cache(target)
    for workload in workloads.corners():
        place.check(workload)
    return place


def profile_folder(target: str, settings: dict[str, Any]) -> Path:
    """Where a profile of these settings lies unless the user says otherwise."""
    return home_folder("profiles") / f"{target.replace(':', '-').replace('/', '-')}-{content_hash(settings)}"


def _fill(
    run: RunFolder,
    subject: Subject,
    plan: Plan,
    limit_seconds: float,
    error_percent: float | None,
    progress: Progress,
) -> None:
    """Measure, and learn from it."""
    crew = Crew(subject.target, subject.seed, run.path, progress.say)
    with SampleStore(run.path / STORE_FILE) as store, crew:
        store.set_fingerprint(subject.mark)
        timetable = Timetable(time() - busy_seconds(store.samples()), limit_seconds)
        effort = EFFORTS[subject.effort]
        work = Work(
            run,
            store,
            crew,
            plan,
            effort,
            subject.target,
            subject.workloads,
            subject.seed,
            timetable,
            progress,
            error_percent,
        )
        rounds = gather(work)
    _learn(run, subject, plan.processes, rounds, timetable.began, progress)


def _learn(
    run: RunFolder,
    subject: Subject,
    processes: int,
    rounds: Sequence[dict[str, Any]],
    began: float,
    progress: Progress,
) -> None:
    """Fit and check by what is in the store, and write the files; the work began at `began` (seconds since 1970)."""
    with SampleStore(run.path / STORE_FILE) as store:
        evidence = read_evidence(store, subject.reference, subject.policy.visits_among(processes))

    def fitted() -> dict[str, Any]:
        progress.say("fitting the latency predictor")
        seen = observations(evidence.fit, evidence.measurements)
        predictor = LatencyPredictor.fit(seen, seed=subject.seed)
        predictor.save(run.path / PREDICTOR_FILE)
        committee = form_committee(seen, subject.seed)
        check = check_predictor(predictor, evidence, subject.workloads)
        budget = budget_of(evidence, check, None if committee is None else committee.error_percent)
        return {"check": check, "error_budget": budget.to_json(), "seconds": time() - began}

    write_outcome(run, subject, evidence, run.stage(FITTED, fitted), rounds)
