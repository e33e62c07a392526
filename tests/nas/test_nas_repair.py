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


@pytest.fixture
def shipped(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Milliseconds of each student as it is shipped; the first one takes 4 % more than its budget, by the clock."""
    timed_as_shipped, shipped = delivery.timed_as_shipped, []

    def disturbed(context: Any, budget: Any, items: Any, waits: int = 0) -> delivery.Timed:
        found = timed_as_shipped(context, budget, items, waits)
        shipped.append(found.measurements["student"].p50_ms)
        if len(shipped) > 1:
            return found
        slow = replace(found.measurements["student"], p50_ms=1.04 * budget.latency_ms)
        return replace(found, measurements={**found.measurements, "student": slow})

    monkeypatch.setattr(delivery, "timed_as_shipped", disturbed)
    return shipped


def see_cut(verdict: dict[str, Any], run: Path) -> int:
    """The steps that a student was taught on for, seen to be a part of the one that was too slow."""
    assert verdict["within_budget"] and verdict["parity"]["max_abs_error"] <= 1e-4
    stages = read_json(run / RUN_FILE)["stages"]
    (cut,) = stages["1.5ms lighter"]["result"]["finalists"]
    steps = {
        name.split()[-1]: stage["result"]["steps"] for name, stage in stages.items() if name.startswith("1.5ms distil")
    }
    few, every = sorted(steps.values())
    assert few == round(0.2 * every) == verdict["schedule"]["cut_steps"], "a fifth of a full distillation"
    whole = StudentSpec.from_json(stages["1.5ms finalists"]["result"]["finalists"][0]["spec"])
    spec = StudentSpec.from_json(verdict["student"]["spec"])
    assert spec == StudentSpec.from_json(cut["spec"]) and spec.parameters() < whole.parameters()
    assert (spec.hidden_width, len(spec.layers)) == (whole.hidden_width, len(whole.layers))
    assert f"taught on for {few} steps" in (Path(verdict["folder"]) / "student/README.md").read_text()
    return few


def test_from_too_slow_to_within_the_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shipped: list[float]
) -> None:
    settings = tiny_search(tmp_path, monkeypatch, SPACE)
    settings = replace(settings, data=str(write("classification", tmp_path)), method="random")
    begun: list[int] = []
    distil = full_distillation.distil

    class Killed(BaseException):
        pass

    def dying(*given: Any, **named: Any) -> Any:
        # The second student is the first one, cut.
        begun.append(named["steps"])
        if len(begun) > 1:
            raise Killed
        return distil(*given, **named)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(full_distillation, "distil", dying)
        search(settings, QUIET)
    (verdict,) = search(settings, QUIET)
    assert len(shipped) == 2, "nothing was timed again after the kill"
    assert see_cut(verdict, tmp_path / "run") == begun[1] and verdict["score"]["student"] > 0.7


@pytest.mark.parametrize(("method", "kind"), [("autotinybert", "regression"), ("random", "masked-lm")])
def test_whatever_it_learnt_from(
    method: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shipped: list[float]
) -> None:
    """A part of a supernet and a language model go on from what they had learnt as well."""
    settings, asked = tiny_search(tmp_path, monkeypatch, SPACE), kind if kind.endswith("-lm") else None
    (verdict,) = search(replace(settings, data=str(write(kind, tmp_path)), task=asked, method=method), QUIET)
    assert see_cut(verdict, tmp_path / "run") >= 1 and len(shipped) == 2
