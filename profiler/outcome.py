"""What a profile comes to: predictor, check, stability and error budget, and the files that hold them."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from time import time
from typing import Any

import numpy as np

from devices.disturbance import disturbances_to_json
from devices.fingerprint import SCHEMA, Fingerprint
from devices.stopwatch import Policy
from predictor.evaluation import PREDICTOR, evaluate
from predictor.latency import LatencyPredictor
from profiler.budget import ErrorBudget, error_budget, noise_percent
from profiler.evidence import Evidence
from profiler.folder import DEVICE_FILE, FEATURES_MARK, PREDICTOR_FILE, REPORT_FILE
from profiler.observed import observations, predicted_ends
from profiler.report import write_report
from profiler.workloads import WorkloadRange
from runs.files import write_json_atomic
from runs.folder import RunFolder


@dataclass(frozen=True)
class Subject:
    """What a profile is of, and how it was asked for."""

    target: str
    mark: Fingerprint
    workloads: WorkloadRange
    effort: str
    seed: int
    policy: Policy
    reference: str
    adapted_from: dict[str, Any] | None = None


def check_predictor(predictor: LatencyPredictor, evidence: Evidence, workloads: WorkloadRange) -> dict[str, Any]:
    """For each pair of threads and precision, by the key of its range: how the predictor does on fresh students.

    The number of fresh `students`, their `noise_floor_percent`, the share that the 90 % interval `covered_percent`, and
    the `errors` of the predictor beside the baselines'.
    """
    learned = observations(evidence.fit, evidence.measurements)
    fresh = observations(evidence.check, evidence.measurements)
    found = {}
    for part in workloads.parts():
        mine = [one for one in fresh if part.holds(one.workload)]
        if not mine:
            continue
        floors = [
            one.unsure_percent
            for (key, workload), one in evidence.measurements.items()
            if key in evidence.check and part.holds(workload)
        ]
        ends = predicted_ends(predictor, mine)
        inside = [low <= one.latency_ms <= high for one, (low, high) in zip(mine, ends, strict=True)]
        others = [one for one in learned if part.holds(one.workload)]
        found[part.key] = {
            "students": len(mine),
            "noise_floor_percent": float(np.median(floors)),
            "covered_percent": 100 * float(np.mean(inside)),
            "errors": {name: asdict(errors) for name, errors in evaluate(predictor, others, mine).items()},
        }
    return found


def budget_of(evidence: Evidence, check: Mapping[str, Any], held_out_percent: float | None) -> ErrorBudget:
    """The error budget, from the noise of the fit's models and the mean error of the check over all fresh students."""
    noise = noise_percent(one for (key, _), one in evidence.measurements.items() if key in evidence.fit)
    students = [part["students"] for part in check.values()]
    fresh = [part["errors"][PREDICTOR]["mape_percent"] for part in check.values()]
    return error_budget(noise, held_out_percent, float(np.average(fresh, weights=students)))


def write_outcome(
    run: RunFolder, subject: Subject, evidence: Evidence, result: dict[str, Any], rounds: Sequence[dict[str, Any]]
) -> None:
    """Write report and device.json beside a predictor that is there; device.json says that all others are whole.

    `result` has the `check`, the `error_budget` and the `seconds` of the work.
    """
    device = {
        "schema": SCHEMA,
        "target": subject.target,
        "fingerprint": subject.mark.to_json(),
        "workloads": subject.workloads.to_json(),
        "effort": subject.effort,
        "seed": subject.seed,
        "policy": subject.policy.to_json(),
        "reference": subject.reference,
        "features": FEATURES_MARK,
        "adapted_from": subject.adapted_from,
        "models": {"fit": len(evidence.fit), "check": len(evidence.check)},
        "cells": len(evidence.measurements),
        "samples": len(evidence.samples),
        "rounds": list(rounds),
        "stability": evidence.steadiness.to_json(),
        "disturbances": disturbances_to_json(evidence.disturbances),
        **result,
        "finished_at": time(),
    }
    predictor = LatencyPredictor.load(run.path / PREDICTOR_FILE)
    write_report(run.path / REPORT_FILE, device, evidence, predictor, subject.workloads)
    write_json_atomic(run.path / DEVICE_FILE, device)
