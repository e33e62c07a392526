"""What stands between search and verdict: counts in bulk, the forecast, and going on when a measurement disappoints."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from nas_synthetic import MEMBERS, problem

from devices.measurement import Measurement
from devices.workload import Workload
from export.items import Checkpoint, GraphFile
from nas.budget import Budget
from nas.context import Context
from nas.cut import lighter_stage
from nas.delivery import (
    WAITS,
    deliver,
    delivered_forms,
    excess,
    export_stage,
    target_artifact,
    timed_as_shipped,
)
from nas.estimate import READ_AT_ONCE, STEP_OVERHEAD, Forecast, forecast, step_seconds
from nas.finalists import Candidate, Finalist
from nas.full_distillation import distil_finalists, distillation_stage
from nas.limits import Limits
from nas.members import Members
from nas.schedule import EFFORTS, Effort
from nas.verdict import Scores
from runs.folder import RunFolder, open_run
from runs.progress import Progress
from students.space import space

BUDGET = Budget(Workload(), 6.0)
NO_LIMITS = Limits()


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
    ground: Any
    progress: Progress = Progress(quiet=True)


def stored(
    run: RunFolder,
    everyone: list[Finalist],
    times: list[float],
    scores: list[float],
    megabytes: Sequence[int] = (),
    limits: Limits = NO_LIMITS,
    lighter: Sequence[Finalist] = (),
) -> Context:
    taken = megabytes or [50] * len(everyone)
    for one, milliseconds, score, memory in zip(everyone, times, scores, taken, strict=True):
        done = {"folder": "work", "validation_score": score}
        run.stage(distillation_stage(BUDGET, one), lambda done=done: done)
        both = {
            "measured": {"student": measured(milliseconds), "teacher": measured(30.0)},
            "discarded_ms": [],
            "memory_bytes": {"student.ort.onnx": 10**6 * memory},
        }
        run.stage(export_stage(BUDGET, one), lambda both=both: both)
    run.stage(lighter_stage(BUDGET), lambda: {"finalists": [one.to_json() for one in lighter]})
    ground = SimpleNamespace(target="onnxruntime", scoring=lambda budget: SimpleNamespace(limits=limits))
    return cast(Context, StoredSearch(run, EFFORTS["standard"], ground))


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


def test_one_that_is_slightly_over_is_cut_before_another_is_distilled(tmp_path: Path) -> None:
    everyone = finalists(4)
    cut = replace(everyone[3], cut_from="work")
    for folder, times, wanted in (
        ("cut", [6.1, 5.0, 5.0, 5.9], cut),
        ("in vain", [6.1, 5.0, 5.0, 6.2], everyone[1]),
        ("far", [6.7, 5.0, 5.0, 5.9], everyone[1]),
    ):
        with open_run(tmp_path / folder, "search", {}) as run:
            context = stored(run, everyone, times, [0.9] * 4, lighter=[cut])
            assert deliver(context, BUDGET, everyone[:3]).finalist == wanted


def test_one_that_takes_too_much_memory_is_not_delivered(tmp_path: Path) -> None:
    everyone = finalists(3)
    limits = Limits(memory_bytes=40e6)
    with open_run(tmp_path, "search", {}) as run:
        context = stored(run, everyone, [5.9, 5.0, 5.5], [0.9] * 3, [41, 40, 30], limits)
        delivered = deliver(context, BUDGET, everyone)
    assert delivered.finalist == everyone[1] and not excess(context, BUDGET, delivered)


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


def test_what_a_teacher_usually_takes_is_learnt_from_every_student_shipped(tmp_path: Path) -> None:
    with open_run(tmp_path, "search", {}) as run:
        context = cast(Context, SimpleNamespace(run=run, teacher_ms={"fp32": 33.0, "int8": 12.0}))
        assert Context.usual_teacher_ms(context, "fp32") == 33.0
        stored(run, finalists(2), [5.0] * 2, [0.8] * 2)
        assert Context.usual_teacher_ms(context, "fp32") == 30.0
        assert Context.usual_teacher_ms(context, "int8") == 12.0


@dataclass(frozen=True)
class PlayedClock:
    """A target's clock is played: each try finds the next student's and teacher's milliseconds, and twice as many
    processes bring the student's median down halfway to 5.7."""

    tries: list[tuple[float, float]]
    calls: list[tuple[int, int]]
    """(number of the try, how often as many processes as usual) of each call."""

    progress: Progress = Progress(quiet=True)

    def usual_teacher_ms(self, precision: str) -> float:
        return {"fp32": 30.0}[precision]

    def time(self, items: dict[str, Any], workload: Workload, times: int = 1) -> dict[str, Measurement]:
        again = next(iter(items)).rpartition("again after ")[2]
        number = int(again) if again.isdigit() else 0
        self.calls.append((number, times))
        student, teacher = self.tries[number]
        student = student if times == 1 else (student + 5.7) / 2
        found = {key: teacher if key.startswith("teacher") else student for key in items}
        return {key: Measurement(key, workload, p50, p50, (p50,) * 3 * times, 1.0, 60) for key, p50 in found.items()}


@pytest.mark.parametrize(
    ("tries", "calls", "kept"),
    [
        ([(5.9, 30.0)], [(0, 1)], True),
        ([(6.25, 30.0)], [(0, 1), (0, 2)], True),
        ([(6.35, 30.0)], [(0, 1)], False),
        ([(6.1, 31.4)], [(0, 1), (0, 2)], True),
        ([(6.6, 34.0), (5.9, 30.1)], [(0, 1), (1, 1)], True),
        ([(6.6, 34.0), (6.1, 30.0)], [(0, 1), (1, 1), (1, 2)], True),
        ([(6.6, 34.0)] * (WAITS + 1), [(n, 1) for n in range(WAITS + 1)], False),
        ([(7.4, 34.0), (5.9, 30.1)], [(0, 1), (1, 1)], True),
        ([(8.0, 34.0)], [(0, 1)], False),
    ],
    ids=[
        "within",
        "slightly over",
        "far over",
        "a teacher's noise",
        "slowed once",
        "slowed, then over",
        "slowed for good",
        "slowed more than its teacher",
        "slowed less",
    ],
)
def test_a_student_over_its_budget_is_timed_again_where_that_may_be_the_machine(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    tries: list[tuple[float, float]],
    calls: list[tuple[int, int]],
    kept: bool,
) -> None:
    monkeypatch.setattr("nas.delivery.WAIT_SECONDS", 0.0)
    clock = PlayedClock(tries, [])
    graph = tmp_path / "student.onnx"
    graph.write_bytes(b"timed by a played clock")
    items: dict[str, Any] = {name: GraphFile(graph) for name in ("student", "teacher")}
    timed = timed_as_shipped(cast(Context, clock), BUDGET, items)
    assert clock.calls == calls
    assert timed.discarded_ms == [list(one) for one in tries[: calls[-1][0]]]
    assert list(timed.measurements) == ["student", "teacher"]
    assert BUDGET.holds(timed.measurements["student"]) == kept
    clock.calls.clear()
    timed_as_shipped(cast(Context, clock), BUDGET, items, waits=0)
    assert not [call for call in clock.calls if call[0]], "nothing is waited for"


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


@pytest.mark.parametrize("name", ["hybrid", "kd-nas", "compact"])
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
    assert standard["8ms distillation"] < standard["15ms distillation"]
    # As much work for every budget, as far as the recipe goes.
    assert quick["8ms distillation"] == pytest.approx(quick["15ms distillation"], rel=0.2)
    assert quick["8ms distillation"] < standard["8ms distillation"]
    assert standard["15ms search"] > 3 * quick["15ms search"]


def test_the_forecast_of_what_is_remembered_is_less() -> None:
    def planned(**how: bool) -> dict[str, float]:
        return forecast(EFFORTS["quick"], Workload(), {"2ms": 2.0}, 33.0, 0, 1095, 1600, 128.0, 16, **how).planned

    alone, asked, remembered = planned(), planned(beside=True), planned(beside=True, remembered=True)
    assert alone["2ms search"] < asked["2ms search"] == remembered["2ms search"] < 2 * alone["2ms search"]
    # 100 batches hold all texts.
    assert remembered["2ms distillation"] < asked["2ms distillation"] / 3


def test_parts_of_a_supernet_take_as_long_as_reading_what_they_are_judged_on() -> None:
    def planned(texts: int) -> float:
        found = forecast(EFFORTS["quick"], Workload(), {"2ms": 2.0}, 33.0, 0, 1095, 1600, 64.0, 16, candidates=25,
                         taught=False, parts_read=texts)  # fmt: skip
        return found.planned["2ms search"]

    parts = 25 * EFFORTS["quick"].episodes
    # Half of a workload's 128 tokens, on each of its threads.
    assert planned(3000) - planned(1000) == pytest.approx(parts * 2000 * 0.001 / max(1, torch.get_num_threads()))


def test_a_text_is_read_at_once_and_written_word_by_word() -> None:
    writing = Workload(sequence_length=1, earlier_tokens=128)
    reading = step_seconds(12.8, Workload(), 128.0, 16) - STEP_OVERHEAD
    assert step_seconds(0.1 * READ_AT_ONCE, writing, 128.0, 16) - STEP_OVERHEAD == pytest.approx(reading)


def test_scores_say_when_the_task_decides_nothing() -> None:
    assert Scores("accuracy", 0.9, 0.88, 0.8).to_json()["gap_kept"] == pytest.approx(0.8)
    assert Scores("accuracy", 0.8, 0.82, 0.8).to_json()["gap_kept"] is None
