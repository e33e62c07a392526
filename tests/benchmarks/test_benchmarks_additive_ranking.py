"""Sums of what parts lose beside full distillation: students of one skeleton, each done once, a line for each way."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from tiny_world import WORKLOAD, make_data, make_profile, make_space, make_teacher

from runs.errors import UserError
from students.spec import StudentSpec

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import additive_ranking as script  # noqa: E402

LAYERS = 2


def student(ffn_width: int, losses: tuple[float, float], divergences: tuple[float, float]) -> dict[str, Any]:
    layer = {"type": "transformer", "heads": 2, "qkv_width": 16, "ffn_width": ffn_width}
    spec = StudentSpec.from_json({"embedding_width": 16, "hidden_width": 16, "layers": [layer], "vocabulary_size": 50})
    tried = dict(zip(script.ASKED, ({"loss": losses[0]}, {"loss": losses[1]}, {"loss": losses[0]}), strict=True))
    distilled = {str(seed): {"validation_divergence": value} for seed, value in enumerate(divergences)}
    return {"spec": spec.to_json(), "tried": tried, "distilled": distilled}


def test_the_less_lost_the_higher_the_rank() -> None:
    every = [student(16 * n, (1.0 / n, float(n)), (1.0 / n, 1.1 / n)) for n in range(1, 7)]
    lines = script.report({"students": every}, 2)
    means = {line.split(":")[0]: float(line.split("τ ")[1].split(" ")[0]) for line in lines}
    sums, start, brief = script.ASKED
    assert means == {"one seed": 1.0, sums: 1.0, start: -1.0, brief: 1.0, "weights": 1.0}


def test_students_are_of_one_depth_and_done_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAILORBIRD_HOME", str(tmp_path / "home"))
    data, members = make_data(tmp_path / "data.csv"), make_space(tmp_path / "space.yaml")
    teacher, profile = make_teacher(tmp_path / "teacher", data), make_profile(tmp_path / "profile", members)
    monkeypatch.setattr(script, "SPACE", str(members))
    monkeypatch.setattr(script, "Workload", lambda: WORKLOAD)
    results = tmp_path / "results.json"

    def run(students: int = 3, seeds: int = 2) -> dict[str, Any]:
        script.main(str(data), LAYERS, 1.6, students, seeds, 8, str(teacher), profile, results)
        return dict(json.loads(results.read_text()))

    first = run()
    assert [len(one["spec"]["layers"]) for one in first["students"]] == [LAYERS] * 3
    assert len({json.dumps(one["spec"]) for one in first["students"]}) == 3
    assert all(set(one["tried"]) == set(script.ASKED) and set(one["distilled"]) == {"0", "1"}
               for one in first["students"])  # fmt: skip
    written = results.read_bytes()
    monkeypatch.setattr(script, "distilled", None)
    monkeypatch.setattr(script, "tried", None)
    run()
    assert results.read_bytes() == written, "nothing is done twice"
    with pytest.raises(UserError, match="seeds is 1: give at least 2"):
        run(seeds=1)
    with pytest.raises(UserError, match="students of 2 layers were found between 1.52 and 1.6 ms"):
        run(students=10**6)
