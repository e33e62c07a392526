"""A student that comes out slightly too slow is cut and taught on, however often the search is killed meanwhile."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tiny_kinds import write
from tiny_search import QUIET, SPACE, tiny_search

from nas import delivery, full_distillation
from nas.search import search
from runs.files import read_json
from runs.folder import RUN_FILE
from students.spec import StudentSpec


def test_from_too_slow_to_within_the_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = replace(tiny_search(tmp_path, monkeypatch, SPACE), data=str(write("classification", tmp_path)))
    timed_as_shipped, shipped = delivery.timed_as_shipped, []

    def disturbed(context: Any, budget: Any, items: Any, waits: int = 0) -> delivery.Timed:
        """The first student takes 4 % more than the budget, by the clock."""
        found = timed_as_shipped(context, budget, items, waits)
        shipped.append(found.measurements["student"].p50_ms)
        if len(shipped) > 1:
            return found
        slow = replace(found.measurements["student"], p50_ms=1.04 * budget.latency_ms)
        return replace(found, measurements={**found.measurements, "student": slow})

    monkeypatch.setattr(delivery, "timed_as_shipped", disturbed)
    full_steps: list[int] = []
    settings, distil = replace(settings, method="random"), full_distillation.distil

    class Killed(BaseException):
        pass

    def dying(*given: Any, **named: Any) -> Any:
        # The second student is the first one, cut.
        full_steps.append(named["steps"])
        if len(full_steps) > 1:
            raise Killed
        return distil(*given, **named)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(full_distillation, "distil", dying)
        search(settings, QUIET)
    (verdict,) = search(settings, QUIET)
    # Nothing was timed again after the kill, and what was to be cut is still there.
    assert len(shipped) == 2 and verdict["within_budget"] and verdict["parity"]["max_abs_error"] <= 1e-4
    stages = read_json(tmp_path / "run" / RUN_FILE)["stages"]
    (cut,) = stages["1.5ms lighter"]["result"]["finalists"]
    steps = {
        name.split()[-1]: stage["result"]["steps"] for name, stage in stages.items() if name.startswith("1.5ms distil")
    }
    few, all_steps = sorted(steps.values())
    assert few == round(0.2 * all_steps) and full_steps == [all_steps, few], "a fifth of a full distillation"
    whole = StudentSpec.from_json(stages["1.5ms finalists"]["result"]["finalists"][0]["spec"])
    spec = StudentSpec.from_json(verdict["student"]["spec"])
    assert spec == StudentSpec.from_json(cut["spec"]) and spec.parameters() < whole.parameters()
    assert (spec.hidden_width, len(spec.layers)) == (whole.hidden_width, len(whole.layers))
    assert verdict["score"]["student"] > 0.7 and verdict["schedule"]["cut_steps"] == few
    assert f"taught on for {few} steps" in (Path(verdict["folder"]) / "student/README.md").read_text()
