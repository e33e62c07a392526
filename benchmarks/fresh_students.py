"""How wrong a quick profile is on 100 fresh random students: measured, predicted, beside the baselines.

    python benchmarks/fresh_students.py cpu onnxruntime

Profiles each target first where it has no profile, then times students of the space `hybrid` that no fit and no check
of the profile has seen. Every sample is stored as it comes; the same command goes on where it was.
"""

import json
import re
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from devices.measurement import Measurement, summarise
from devices.store import SampleStore
from devices.workload import Workload
from export.items import item_key
from predictor.evaluation import PREDICTOR, errors, evaluate
from predictor.observation import Observation
from profiler.folder import STORE_FILE
from profiler.plan import (
    POSITIONS,
    PROCESSES,
    SMALL_VOCABULARY,
    VOCABULARY,
    Plan,
    plan_profile,
    random_students,
)
from profiler.processes import measure_items
from profiler.profile import Profile, check_profile, observations, profile_device
from runs.errors import UserError
from runs.files import read_json, write_json_atomic
from runs.progress import Progress
from students.spec import StudentSpec
from students.table import SpecTable

WORKLOAD = Workload()
SUMMARY = "summary.json"
BARS = {"mape_percent": 6.0, "within_10_percent": 88.0}
"""At most so much mean error, at least so many students within ten per cent."""

Measurements = dict[tuple[str, Workload], Measurement]


def fresh_students(plan: Plan, count: int, seed: int) -> dict[str, StudentSpec]:
    """Random members of `hybrid` by item key, none of which the plan measures."""

    def fresh(spec: StudentSpec) -> bool:
        # A profile learns from students of few words and is checked on those with the whole vocabulary.
        learned = item_key(replace(spec, vocabulary_size=SMALL_VOCABULARY))
        return learned not in plan.items and item_key(spec) not in plan.items

    drawn = random_students("hybrid", count, VOCABULARY, POSITIONS, [seed, 4], fresh)
    return {item_key(spec): spec for spec in drawn if isinstance(spec, StudentSpec)}


def measure(
    profile: Profile, plan: Plan, students: dict[str, StudentSpec], file: Path, progress: Progress
) -> Measurements:
    """Time the students, and the profile's reference beside them, under the profile's own policy."""
    with SampleStore(file) as store:
        before = store.fingerprint
        if before is not None and before.differences(profile.fingerprint):
            raise UserError(f"{file} was measured on another machine or runtime: choose another --output.")
        store.set_fingerprint(profile.fingerprint)
        items = {plan.reference: plan.items[plan.reference], **students}
        return measure_items(
            items,
            profile.target,
            [WORKLOAD],
            plan.policy,
            processes=PROCESSES,
            seed=profile.seed + 1,
            progress=progress,
            store=store,
            reference=plan.reference,
        )


def compare(profile: Profile, plan: Plan, students: dict[str, StudentSpec], fresh: Measurements) -> dict[str, Any]:
    """Errors of the profile's predictor and of the baselines, with what noise and drift leave open."""
    with SampleStore(profile.folder / STORE_FILE, read_only=True) as store:
        learnt = summarise(store.samples(), plan.reference)
    fit = [one for one in observations(plan.fit, learnt) if one.workload == WORKLOAD]
    check = [Observation(spec.blocks(), True, WORKLOAD, fresh[key, WORKLOAD].p50_ms) for key, spec in students.items()]
    table = SpecTable.from_specs(list(students.values()))
    predicted, (low, high) = (
        ask(table, WORKLOAD) for ask in (profile.predictor.predict, profile.predictor.predict_interval)
    )
    measured = np.array([one.latency_ms for one in check])
    drift = fresh[plan.reference, WORKLOAD].p50_ms / learnt[plan.reference, WORKLOAD].p50_ms
    found = {name: asdict(error) for name, error in evaluate(profile.predictor, fit, check).items()}
    return {
        "fingerprint": profile.fingerprint.to_json(),
        "workload": WORKLOAD.to_json(),
        "profile": {"effort": profile.effort, "seed": profile.seed, "seconds": profile.seconds, "fit": len(fit)},
        "students": len(students),
        "noise_floor_percent": float(np.median([fresh[key, WORKLOAD].noise_floor_percent for key in students])),
        "drift_percent": 100 * (drift - 1),
        "errors": found,
        "errors_without_drift": asdict(errors(predicted, measured / drift)),
        "interval_90_holds_percent": float(100 * ((low <= measured) & (measured <= high)).mean()),
        "reached": found[PREDICTOR]["mape_percent"] <= BARS["mape_percent"]
        and found[PREDICTOR]["within_10_percent"] >= BARS["within_10_percent"],
        "rows": [
            {"key": key, "predicted_ms": float(guess), "measured_ms": float(truth)}
            for key, guess, truth in zip(students, predicted, measured, strict=True)
        ],
    }


def main(
    targets: Annotated[list[str], typer.Argument(help="what to profile and check: cpu, onnxruntime …")],
    students: Annotated[int, typer.Option(help="how many fresh students", min=2)] = 100,
    effort: Annotated[str, typer.Option(help="of the profile")] = "quick",
    seed: Annotated[int, typer.Option(help="draws the fresh students")] = 2024,
    output: Annotated[Path, typer.Option(help="folder for samples and summary")] = Path("fresh-students"),
) -> None:
    """Print one JSON object with the errors on each target; the same is in the folder, with every student."""
    progress = Progress()
    output.mkdir(parents=True, exist_ok=True)
    summary = read_json(output / SUMMARY) if (output / SUMMARY).is_file() else {}
    for target in targets:
        profile = profile_device(target, (WORKLOAD,), effort, progress=progress)
        check_profile(profile, target)
        plan = plan_profile(profile.effort, profile.workloads, profile.seed)
        drawn = fresh_students(plan, students, seed)
        file = output / f"{re.sub(r'[^A-Za-z0-9]+', '-', target)}.sqlite"
        summary[target] = compare(profile, plan, drawn, measure(profile, plan, drawn, file, progress))
        write_json_atomic(output / SUMMARY, summary)
    shown = {target: {name: value for name, value in summary[target].items() if name != "rows"} for target in targets}
    print(json.dumps(shown, indent=2))


if __name__ == "__main__":
    try:
        typer.run(main)
    except UserError as problem:
        raise SystemExit(f"error: {problem}") from None
