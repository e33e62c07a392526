"""What stands between search and verdict: counts in bulk, the forecast, and going on when a measurement disappoints."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from nas_synthetic import MEMBERS, problem

from devices.measurement import Measurement
from devices.workload import Workload
from export.items import Checkpoint, GraphFile
from nas.budget import Budget
from nas.context import Context
from nas.delivery import (
    deliver,
    delivered_forms,
    distil_finalists,
    distillation_stage,
    export_stage,
    target_artifact,
    timed_as_shipped,
)
from nas.estimate import Forecast, forecast
from nas.finalists import Candidate, Finalist
from nas.members import Members
from nas.schedule import EFFORTS, Effort
from nas.verdict import Scores
from runs.folder import RunFolder, open_run
from runs.progress import Progress
from students.space import space

BUDGET = Budget(Workload(), 6.0)


def finalists(count: int) -> list[Finalist]:
    members = problem().space
    specs = members.decode(members.sample(count, np.random.default_rng(0)), **MEMBERS)  # type: ignore[arg-type]
    return [Finalist(Candidate((n,), spec, 0.9 - n / 10, 5.0, (4.8, 5.2)), 5.5) for n, spec in enumerate(specs)]


def measured(milliseconds: float) -> dict[str, Any]:
    return Measurement("key", Workload(), milliseconds, milliseconds, (milliseconds,) * 3, 1.0, 60).to_json()


@dataclass(frozen=True)
class StoredSearch:
    """What `deliver` and `distil_finalists` read of a context whose costly stages have all ended."""

    run: RunFolder
    effort: Effort
    progress: Progress = Progress(quiet=True)


def stored(run: RunFolder, everyone: list[Finalist], times: list[float], scores: list[float]) -> Context:
    for one, milliseconds, score in zip(everyone, times, scores, strict=True):
        done = {"folder": "work", "validation_score": score}
        run.stage(distillation_stage(BUDGET, one), lambda done=done: done)
        both = {"student": measured(milliseconds), "teacher": measured(30.0)}
        run.stage(export_stage(BUDGET, one), lambda both=both: both)
    return cast(Context, StoredSearch(run, EFFORTS["standard"]))


def test_the_best_on_validation_goes_first_and_the_rest_stand_by(tmp_path: Path) -> None:
    everyone = finalists(4)
    with open_run(tmp_path, "search", {}) as run:
        context = stored(run, everyone, [5.0] * 4, [0.80, 0.85, 0.99, 0.99])
        order = distil_finalists(context, BUDGET, {"finalists": [one.to_json() for one in everyone]})
    assert order == [everyone[1], everyone[0], everyone[2], everyone[3]]


def test_the_first_that_keeps_the_budget_is_delivered(tmp_path: Path) -> None:
    everyone = finalists(3)
    with open_run(tmp_path, "search", {}) as run:
        delivered = deliver(stored(run, everyone, [6.1, 5.9, 5.0], [0.9] * 3), BUDGET, everyone)
    assert delivered.finalist == everyone[1]
    assert (delivered.student.p50_ms, delivered.teacher.p50_ms) == (5.9, 30.0)


def test_when_all_come_out_over_smaller_neighbours_follow(tmp_path: Path) -> None:
    everyone = finalists(3)
    with open_run(tmp_path, "search", {}) as run:
        context = stored(run, everyone, [6.1, 6.2, 5.8], [0.9] * 3)
        run.stage("6ms further finalists", lambda: {"finalists": [everyone[2].to_json()]})
        assert deliver(context, BUDGET, everyone[:2]).finalist == everyone[2]


def test_when_nothing_keeps_the_budget_the_last_is_delivered_as_it_is(tmp_path: Path) -> None:
    everyone = finalists(2)
    with open_run(tmp_path, "search", {}) as run:
        context = stored(run, everyone, [6.1, 6.2], [0.9] * 2)
        run.stage("6ms further finalists", lambda: {"finalists": []})
        delivered = deliver(context, BUDGET, everyone)
    assert delivered.finalist == everyone[1] and not BUDGET.holds(delivered.student)


@pytest.mark.parametrize(
    ("first", "asked", "kept"),
    [(5.9, [1], True), (6.25, [1, 2], True), (6.35, [1], False)],
    ids=["within", "slightly over", "far over"],
)
def test_a_student_slightly_over_its_budget_is_measured_in_more_processes(
    tmp_path: Path, first: float, asked: list[int], kept: bool
) -> None:
    """A target's clock is played: the first three processes find `first`, three more would bring the median down."""
    calls: list[int] = []

    @dataclass(frozen=True)
    class Timing:
        progress: Progress = Progress(quiet=True)

        def time(self, items: dict[str, Any], workload: Workload, times: int = 1) -> dict[str, Measurement]:
            calls.append(times)
            p50 = first if times == 1 else (first + 5.7) / 2
            return {key: Measurement(key, workload, p50, p50, (p50,) * 3 * times, 1.0, 60) for key in items}

    items: dict[str, Any] = {name: Checkpoint(tmp_path) for name in ("student", "teacher")}
    timed = timed_as_shipped(cast(Context, Timing()), BUDGET, items)
    assert calls == asked and list(timed) == ["student", "teacher"]
    assert BUDGET.holds(timed["student"]) == kept


def test_a_result_holds_the_file_that_its_target_runs() -> None:
    pytest.importorskip("openvino")
    usual = ["student.onnx", "student.ort.onnx", "student.int8.onnx", "student.ort.int8.onnx"]
    for target, precision, own in (
        ("onnxruntime", "int8", "student.ort.int8.onnx"),
        ("openvino", "bf16", "student.onnx"),
        ("openvino", "int8", "student.int8-static.onnx"),
    ):
        workload = Workload(precision=precision)  # type: ignore[arg-type]
        artifact = target_artifact(Path("folder"), target, workload)
        assert artifact == GraphFile(Path("folder") / own)
        assert sorted(delivered_forms(target, workload)) == sorted({*usual, own})
    assert target_artifact(Path("folder"), "cpu", Workload(precision="bf16")) == Checkpoint(Path("folder") / "student")
    assert sorted(delivered_forms("cpu", Workload(precision="bf16"))) == sorted(usual)


@pytest.mark.parametrize("name", ["hybrid", "kd-nas"])
def test_weights_counted_in_bulk_are_the_specs_own(name: str) -> None:
    members = Members(space(name), **MEMBERS)  # type: ignore[arg-type]
    codes = members.space.sample(50, np.random.default_rng(0))
    assert members.parameters(codes).tolist() == [spec.parameters() for spec in members.specs(codes)]


def test_the_forecast_learns_the_machines_pace_from_what_was_worked() -> None:
    plan = Forecast({"teacher": 100.0, "search": 50.0, "export": 60.0})
    assert plan.left({}).startswith("about 3 min 30 s left (teacher 1 min 40 s, search 50 s")
    assert plan.left({"teacher": 200.0}).startswith("about 3 min 40 s left")
    assert plan.left({"teacher": 0.5}).startswith("about 1 min 50 s left"), "found, not worked"
    assert plan.left({"teacher": 100.0, "search": 50.0, "export": 1.0}).startswith("about 0 s left")


def test_the_forecast_names_every_stage_of_every_budget_and_grows_with_the_effort() -> None:
    def planned(effort: str) -> dict[str, float]:
        budgets = {"15ms": 15.0, "8ms": 8.0}
        return forecast(EFFORTS[effort], Workload(), budgets, 33.0, 438, 1095, 7000, 30.0, 32).planned

    quick, standard = planned("quick"), planned("standard")
    assert list(quick)[:3] == ["teacher", "15ms search", "15ms finalists"]
    assert quick["8ms distillation"] < quick["15ms distillation"]
    assert standard["15ms search"] > 3 * quick["15ms search"]


def test_scores_say_when_the_task_decides_nothing() -> None:
    assert Scores("accuracy", 0.9, 0.88, 0.8).to_json()["gap_kept"] == pytest.approx(0.8)
    assert Scores("accuracy", 0.8, 0.82, 0.8).to_json()["gap_kept"] is None
