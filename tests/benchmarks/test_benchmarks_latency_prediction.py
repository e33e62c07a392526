"""The benchmark of prediction: who is held out, what waits for what, what figures say, and all of it together."""

import importlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from devices.measurement import Cell, Sample
from devices.reference import reference_workload
from devices.stopwatch import Policy
from devices.summary import summarise
from devices.workload import Workload
from export.items import Item, Stack, item_key, item_to_json
from profiler import gathering
from profiler.plan import EFFORTS, Effort, item_flops
from profiler.workloads import WorkloadRange
from runs.errors import UserError
from students.shapes import SHAPES
from students.spec import StudentSpec, uniform_spec

RANGE = WorkloadRange(((16, 512),), (1,), (1, 2), ("fp32", "int8"))


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Imports modules as the script does, with `benchmarks` first on the path."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    return importlib.import_module


def test_students_are_held_out_in_their_shares_and_named_shapes_are_among_them(load: Any) -> None:
    held_out = load("prediction.held_out")
    students = held_out.held_out_students(100, 3, RANGE)
    assert students == held_out.held_out_students(100, 3, RANGE)
    assert students != held_out.held_out_students(100, 4, RANGE)
    kinds = Counter(one.kind for one in students)
    assert [kinds[kind] for kind in held_out.SHARES] == [40, 20, 12, 14, 14]
    specs = {one.spec for one in students}
    assert len(specs) == len(students)
    assert {held_out.same_shape(SHAPES[name]) for name in SHAPES} <= specs
    assert all(one.spec.vocabulary_size == 30522 for one in students)
    assert len({len(set(one.spec.layers)) > 1 for one in students if one.kind == "hybrid"}) == 1


def test_every_student_is_asked_in_the_first_precision_and_half_in_the_others(load: Any) -> None:
    held_out = load("prediction.held_out")
    students = [one for one in held_out.held_out_students(100, 3, RANGE) if one.kind != "named"]
    asked = [workload for one in students for workload in one.workloads]
    assert all(RANGE.holds(workload) for workload in asked)
    counts = Counter(workload.precision for workload in asked)
    assert (counts["fp32"], counts["int8"]) == (100, 50)
    assert {workload.threads for workload in asked} == {1, 2}
    # No multiples of a power of two alone: those are the lengths that kernels like.
    assert any(workload.sequence_length % 2 for workload in asked)
    costs = [one.spec.flops(1, at.sequence_length) for one in students for at in one.workloads]
    assert max(costs) <= held_out.MOST_FLOPS


def test_students_from_outside_reach_beyond_the_plan(load: Any) -> None:
    held_out = load("prediction.held_out")
    outside = [one.spec for one in held_out.held_out_students(640, 2026, RANGE) if one.kind == "outside"]
    assert max(len(spec.layers) for spec in outside) > 10
    assert max(spec.hidden_width for spec in outside) > 512
    assert min(spec.hidden_width for spec in outside) < 64


class Clock:
    """Time that passes by resting alone."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def say(self, text: str) -> None:
        pass

    def rest(self, seconds: float) -> None:
        self.now += seconds


def test_waiting_is_filled_with_whatever_is_ready(load: Any) -> None:
    schedule, clock, done = load("prediction.schedule"), Clock(), []
    ends: dict[str, float] = {}

    def profile(name: str) -> Any:
        def run() -> None:
            clock.now += 600
            ends[name] = clock.now
            done.append((f"profile {name}", clock.now))

        return schedule.Work(f"profile {name}", lambda: 0.0, run)

    def later(name: str, seconds: float) -> Any:
        def ready_at() -> float | None:
            return ends[name] + seconds if name in ends else None

        return schedule.Work(f"held-out {name}", ready_at, lambda: done.append((f"held-out {name}", clock.now)))

    works = [profile("a"), profile("b"), later("b", 1800), later("a", 1800)]
    schedule.carry_out(works, clock, clock)
    assert done == [("profile a", 600), ("profile b", 1200), ("held-out a", 2400), ("held-out b", 3000)]


def test_a_wait_for_what_nobody_makes_is_one_sentence(load: Any) -> None:
    schedule = load("prediction.schedule")
    with pytest.raises(UserError, match="run --stage profile first"):
        schedule.carry_out([schedule.Work("the held-out students of x", lambda: None, lambda: None)], Clock(), Clock())


def test_the_time_of_a_slice_ends_work_between_two_samples(load: Any) -> None:
    deadline = load("prediction.deadline")
    endless = deadline.LimitedProgress(None, quiet=True)
    with endless.task("x", 1) as task:
        task.advance()
    over = deadline.LimitedProgress(0.0005, quiet=True)
    with pytest.raises(deadline.TimeIsOver), over.task("x", 10**9) as task:
        while True:
            task.advance()
    with pytest.raises(deadline.TimeIsOver):
        over.rest(1.0)


SPEC = uniform_spec(2, 64, 2, 128)


def test_figures_are_those_of_the_rows(load: Any) -> None:
    figures = load("prediction.figures")
    rows = [
        figures.Row("hybrid", "a", SPEC, Workload(1, 16, 1), 10.0, 20.0, 1.0),
        figures.Row("outside", "b", SPEC, Workload(1, 300, 2), 100.0, 200.0, 3.0),
    ]
    guesses = [figures.Guess(11.0, 9.0, 13.0), figures.Guess(98.0, 97.0, 99.0)]
    found = figures.set_figures(rows, guesses, "undisturbed")
    assert found["mape_percent"] == pytest.approx(6.0)
    assert found["within_5_percent"] == found["interval_90_holds_percent"] == 50.0
    assert figures.set_figures(rows, guesses, "clocked")["mape_percent"] == pytest.approx((45 + 51) / 2)
    assert figures.worst_case(rows, guesses, "undisturbed")["error_percent"] == pytest.approx(10.0)
    assert StudentSpec.from_json(figures.worst_case(rows, guesses, "undisturbed")["spec"]) == SPEC
    parts = figures.group_figures(rows, guesses, "undisturbed")
    assert parts["kind: outside"]["mape_percent"] == pytest.approx(2.0)
    assert {name.partition(":")[0] for name in parts} == set(figures.GROUPINGS)
    assert "interval_90_holds_percent" not in figures.set_figures(rows, [figures.Guess(1.0)] * 2, "clocked")


def test_bars_are_met_by_the_undisturbed_latency(load: Any) -> None:
    bars = load("prediction.bars")
    assert bars.Bar("mape_percent", 2.5, True).reached(2.5) and not bars.Bar("kendall", 0.97, False).reached(0.96)
    line = bars._line("x", bars.Bar("mape_percent", 2.5, True), {"clocked": 1.0, "undisturbed": 3.0})
    assert not line["met"] and line["clocked"] == 1.0


MS_PER_GFLOP, CALL_MS = {"fp32": 10.0, "int8": 4.0}, 0.05
SLOWER, BUSY = 1.3, 0.6
"""How many times as long everything takes while neighbours are there, and how often they are."""


def device_ms(item: Item, workload: Workload) -> float:
    """A device made by formula."""
    flops = item_flops(item, workload.batch_size, workload.sequence_length)
    blocks = item.depth if isinstance(item, Stack) else len(item.layers) + 2
    return CALL_MS * blocks + flops / 1e9 * MS_PER_GFLOP[workload.precision] / workload.threads**0.8


def by_formula(
    items: Mapping[str, Item],
    cells: Sequence[Cell],
    target: str,
    policy: Policy,
    *,
    processes: int,
    store: Any,
    reference: str,
    **_: Any,
) -> Any:
    """In the place of `measure_cells`: the formula with 1 % of noise, and neighbours while students are held out."""
    store.add_items({key: item_to_json(item) for key, item in items.items()})
    known = {(one.key, one.workload, one.process) for one in store.samples()}
    busy = BUSY if "held-out" in str(store.path) else 0.0
    again = [Cell(reference, at) for at in {reference_workload(cell.workload) for cell in cells}]
    rng = np.random.default_rng(len(known))
    for process in range(processes):
        for place, cell in enumerate([*again, *cells]):
            if (cell.key, cell.workload, process) not in known:
                for number in range(policy.rounds):
                    slower = SLOWER if rng.random() < busy else 1.0
                    ms = device_ms(items[cell.key], cell.workload) * slower * (1 + 0.01 * rng.random())
                    store.add(Sample(cell.key, cell.workload, process, number, ms, 1e9 + place))
    return summarise(store.samples())


TINY = Effort(
    {"hybrid": 40, "named": 100, "narrow-stacks": 8}, check_students=8, most_flops=2e9, anchor_flops=2e9, minutes=1.0,
    policy=Policy(rounds=2), anchors=("bert-tiny",),
)  # fmt: skip


@pytest.fixture
def script(load: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The command on the device made by formula, with the rivals that are quick to learn."""
    monkeypatch.setitem(EFFORTS._entries, "tiny", TINY)
    for module in (gathering, load("prediction.measuring")):
        monkeypatch.setattr(module, "measure_cells", by_formula)
    contenders, adaptation = load("prediction.contenders"), load("prediction.adaptation")
    for slow in ("MLP 400×3", "random forest"):
        monkeypatch.delitem(contenders.RIVALS._entries, f"{slow}, our columns")
    monkeypatch.delitem(contenders.RIVALS._entries, "MLP 400×3, logarithms of the architecture")
    monkeypatch.setattr(adaptation, "SAMPLES", (20,))
    monkeypatch.setattr(adaptation, "DRAWS", 1)
    monkeypatch.setattr(load("prediction.evaluation"), "FOLDS", 2)
    return load("latency_prediction")


def run(script: Any, folder: Path, stages: list[str] | None = None, **options: Any) -> None:
    """The command with few students."""
    settings: dict[str, Any] = {
        "target": ["onnxruntime"],
        "output": folder / "out",
        "stage": stages,
        "effort": "tiny",
        "students": 40,
        "threads": [1],
        "precision": ["fp32", "int8"],
        "wait_minutes": 0.0,
        "again_minutes": 0.0,
        "minutes": None,
        "results": folder / "results",
        "page": folder / "page.md",
        **options,
    }
    script.main(**settings)


def test_from_profile_to_page(script: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(script, tmp_path)
    assert json.loads(capsys.readouterr().out)["finished"]
    result = json.loads((tmp_path / "results" / "onnxruntime.json").read_text())
    assert result["held_out"]["students"] == 40 and result["held_out"]["rows"] == result["held_out"]["rows_planned"]
    assert result["profile"]["rows_left_out"] > 0  # the named shapes that were measured
    for precision in ("fp32", "int8"):
        found = result["precisions"][precision]["random"]
        assert set(found["clocked"]) > {"ours", "flops only", "sum of blocks", "XGBoost, our columns"}
        # Neighbours came after the profile, which medians show and the fastest samples do not.
        assert found["undisturbed"]["ours"]["mape_percent"] < 3 < 8 < found["clocked"]["ours"]["mape_percent"]
        named = {one["shape"] for one in result["precisions"][precision]["shapes"]}
        assert any("bert-base" in name for name in named)
        # Who has learnt the like of them in the same hour as well knows no less.
        informed = result["informed"][precision]
        assert informed["rows"] == found["undisturbed"]["ours"]["rows"] and informed["mape_percent"] < 3
    assert result["held_out"]["reference_now_over_then"]["t1-fp32"] == pytest.approx(1.0, abs=0.02)
    assert result["again"]["median_percent"] < 2
    moved = result["adaptation"]["onnxruntime: fp32 → int8"]
    assert moved["ways"]["ours, adapted"]["20"]["mape_percent"] < 10
    bars = {(line["what"], line["figure"]): line for line in result["bars"]}
    line = bars["onnxruntime fp32: random students", "within_10_percent"]
    assert line["met"] == (line["undisturbed"] >= line["limit"]) and line["clocked"] < 80 < line["undisturbed"]
    worst = bars["onnxruntime fp32: every named shape", "worst_percent"]
    assert worst["met"] == (worst["undisturbed"] <= worst["limit"]) and worst["clocked"] > worst["undisturbed"]
    page = (tmp_path / "page.md").read_text()
    assert "## `onnxruntime`" in page and "bert-base" in page and "**no**" in page

    # Nothing is measured or said otherwise when it is said again.
    (tmp_path / "page.md").unlink()
    run(script, tmp_path, ["evaluate"])
    assert json.loads((tmp_path / "results" / "onnxruntime.json").read_text()) == result
    assert (tmp_path / "page.md").read_text() == page

    # Other students do not go where some were measured.
    with pytest.raises(UserError, match="students is 40 there and 41 here"):
        run(script, tmp_path, ["held-out"], students=41)


def test_bad_calls_are_one_sentence(script: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="unknown stage 'held'"):
        run(script, tmp_path, ["held"])
    with pytest.raises(UserError, match="run --stage profile first"):
        run(script, tmp_path, ["held-out"])
    with pytest.raises(UserError, match="the held-out students .* does not exist"):
        run(script, tmp_path, ["evaluate"])


def test_rows_of_held_out_shapes_are_kept_from_every_fit(load: Any) -> None:
    held_out, learnt = load("prediction.held_out"), load("prediction.learnt")
    small = replace(SHAPES["bert-tiny"], vocabulary_size=4096)
    assert learnt._is_among(small, {held_out.same_shape(SHAPES["bert-tiny"])})
    assert not learnt._is_among(SPEC, {held_out.same_shape(SHAPES["bert-tiny"])})
    assert item_key(small) != item_key(SHAPES["bert-tiny"])
