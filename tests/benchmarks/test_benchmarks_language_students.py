"""Students of language models: what is stored is not taught again, and the summary says what the stored words say."""

import csv
import json
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from tiny_world import make_data, make_teacher

from distill.teachers import fine_tuning, prepare_teacher
from runs.errors import UserError

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import language_students as students  # noqa: E402
from grid.cells import Shape  # noqa: E402
from perplexities import perplexity  # noqa: E402


def test_a_student_with_half_the_perplexity_is_said_to_have_it() -> None:
    alone = [[-5.0 - 0.01 * n + 0.02 * seed for n in range(50)] for seed in range(2)]
    cells = {f"words/{seed}": {"blocks": alone[seed]} for seed in range(2)}
    cells |= {f"teacher/{seed}": {"blocks": [one + np.log(2) for one in alone[seed]]} for seed in range(2)}
    found = students.summary(cells)
    assert found["teacher"]["times"] == pytest.approx([0.5, 0.5, 0.5], abs=1e-3)
    assert found["words"] == {"seeds": 2, "perplexity": round(perplexity(alone), 2)}


def test_what_is_there_is_not_taught_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAILORBIRD_HOME", str(tmp_path / "home"))
    data, texts = make_data(tmp_path / "data.csv"), tmp_path / "texts.csv"
    with data.open(encoding="utf-8") as rows, texts.open("w", newline="", encoding="utf-8") as out:
        csv.writer(out).writerows([("text",), *((row["text"],) for row in csv.DictReader(rows))])
    teacher = make_teacher(tmp_path / "teacher", data)
    tiny = students.Setting(Shape(1, 16, 2, 32), 16, "refitted", 8, 1e-3)
    monkeypatch.setitem(students.SETTINGS, "masked-lm", tiny)
    brief = replace(fine_tuning("masked-lm"), minimum_steps=20, epochs=1e-9)
    monkeypatch.setattr(students, "prepare_teacher", partial(prepare_teacher, training=brief))

    def run(seeds: int) -> dict[str, object]:
        place = tmp_path / "r.json"
        students.main(str(texts), "masked-lm", str(teacher), 200, 30, 4, seeds, ["words", "teacher"], results=place)
        return dict(json.loads(place.read_text())["masked-lm"])

    one, two = run(1), run(2)
    assert set(one["cells"]) == {"words/0", "teacher/0"} and len(two["cells"]) == 4
    assert {key: two["cells"][key] for key in one["cells"]} == one["cells"]
    assert one["cells"]["words/0"]["blocks"] != one["cells"]["teacher/0"]["blocks"]
    assert two["summary"]["teacher"]["seeds"] == 2 and one["train"] == 200 and one["read"] == 30


@pytest.mark.parametrize("wrong", [{"kind": "tokens"}, {"arm": ["nothing"]}])
def test_what_is_not_known_is_said(wrong: dict[str, object], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="masked-lm|words, "):
        students.main(str(tmp_path), results=tmp_path / "r.json", **wrong)
