"""A searched student that writes on beside a shape made by hand, taught the same from the same teacher."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_kinds import write
from tiny_search import QUIET, SPACE, tiny_search

from nas.search import search
from runs.errors import UserError

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import language_searches as searches  # noqa: E402


def test_shapes_made_by_hand_learn_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = tiny_search(tmp_path, monkeypatch, SPACE, 16)
    settings = replace(settings, data=str(write("causal-lm", tmp_path)), task="causal-lm", budgets_ms=(50.0,))
    (verdict,) = search(settings, QUIET)
    run, results = settings.folder(), tmp_path / "results.json"

    def both() -> dict[str, object]:
        searches.main(run, shape=["bert-tiny"], results=results)
        return dict(json.loads(results.read_text())["run"])

    first = both()
    cells = first["cells"]
    assert first["steps"] == verdict["schedule"]["final_steps"] and first["texts"] > 0
    assert set(cells) == {"searched", "bert-tiny"} and cells["bert-tiny"]["predicted_ms"] <= 50
    assert first["summary"]["best by hand"] == "bert-tiny" and len(first["summary"]["times"]) == 3
    assert cells["searched"]["blocks"] != cells["bert-tiny"]["blocks"]
    # The search's own student, as the verdict has scored it.
    assert first["summary"]["searched"] == pytest.approx(1 / verdict["score"]["student"], rel=1e-2)
    monkeypatch.setattr(searches, "distil", None)
    assert both() == first, "what is there is not taught again"


def test_other_runs_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "students" / "1ms"
    folder.mkdir(parents=True)
    (folder / "verdict.json").write_text(json.dumps({"schema": 1, "task": "classification", "target": "replay:x"}))
    with pytest.raises(UserError, match="is a search for classification"):
        searches.student_of(tmp_path, "1ms")
    (folder / "verdict.json").write_text(json.dumps({"schema": 1, "task": "causal-lm", "target": "onnxruntime"}))
    with pytest.raises(UserError, match="was timed on onnxruntime"):
        searches.student_of(tmp_path, "1ms")
    (tmp_path / "run.json").write_text(json.dumps({"settings": {}}))
    (folder / "verdict.json").unlink()
    with pytest.raises(UserError, match="students of 0 budgets"):
        searches.main(tmp_path, results=tmp_path / "r.json")
