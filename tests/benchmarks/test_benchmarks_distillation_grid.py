"""The grid teaches what is missing and nothing else, and its page says what the stored answers say."""

import json
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from stock_models import write_stock
from tiny_world import make_data, make_teacher
from transformers import DebertaV2ForSequenceClassification, RobertaForSequenceClassification

from distill.classroom import Classroom
from distill.examples import Split, Task
from distill.teachers import Teacher
from runs.errors import UserError

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import distillation_grid as grid  # noqa: E402
from grid import cells, page, teaching  # noqa: E402

SHAPE = cells.Shape(1, 16, 2, 32)


def test_every_cell_has_a_place_of_its_own() -> None:
    for stage in cells.STAGES:
        found = list(cells.cells_of(stage, "task", 500, range(3)))
        assert found and len({cell.place for cell in found}) == len(found)
        assert {cell.seed for cell in found} == {0, 1, 2}


def test_answers_are_kept_as_text() -> None:
    right = np.random.default_rng(0).random(1001) < 0.7
    assert (teaching.from_text(teaching.as_text(right), 1001) == right).all()


def fabricated(arms: dict[str, list[float]], examples: int = 1000) -> dict[str, object]:
    """Results of one task whose arms have these shares of right answers, a value a seed."""

    def answers(share: float) -> str:
        return teaching.as_text(np.arange(examples) < share * examples)

    stored = {}
    for arm, shares in arms.items():
        for seed, share in enumerate(shares):
            stored[f"{arm}{seed}"] = {
                "stage": "tiny", "table": "1x16", "arm": arm, "seed": seed, "steps": 7, "divergence": 1 - share,
                "seconds": 1.0, "right": {"validation": answers(share), "test": answers(share)},
            }  # fmt: skip
    reference = {"examples": examples, "teacher": answers(0.95), "bag_of_words": answers(0.6)}
    return {"references": {"validation": reference, "test": reference}, "cells": stored}


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    def stage() -> cells.Tables:
        """What a test compares."""
        two = {"logits": cells.recipe(cells.ANSWERS), "labels": cells.recipe(cells.Term("labels"))}
        return {"1x16": cells.of(SHAPE, two), "again": cells.of(SHAPE, {"as before": two["logits"]})}

    monkeypatch.setattr(cells, "STAGES", {"tiny": stage})
    monkeypatch.setattr(page, "STAGES", {"tiny": stage})
    monkeypatch.setattr(grid, "STAGES", {"tiny": stage})
    monkeypatch.setitem(page.TITLES, "tiny", "Tiny")
    monkeypatch.setattr(grid, "LEAST_STEPS", 4)
    monkeypatch.setattr(grid, "STEPS_PER_CLASS", 1)


@pytest.mark.usefixtures("tiny")
def test_differences_are_those_of_the_stored_answers() -> None:
    results = {"a": fabricated({"logits": [0.8, 0.82], "labels": [0.7, 0.72]}),
               "b": fabricated({"logits": [0.5, 0.5], "labels": [0.5, 0.5]})}  # fmt: skip
    found = page.page(results, "What was found.")
    text = found.pop("")
    assert (
        "What was found." in text and "| teacher | 95.0 | 95.0 |" in text and "| bag-of-words | 60.0 | 60.0 |" in text
    )
    first, second = (next(line for line in text.splitlines() if line.startswith(f"| {arm} |"))
                     for arm in ("logits", "labels"))  # fmt: skip
    assert "81.0 (2 seeds, 7 steps) | 50.0 (2 seeds, 7 steps)" in first
    assert "| **-10.0 [-1" in second and "| +0.0 [+0.0, +0.0] |" in second and "**-5.0 [-" in second
    assert "(guideline/tiny-1x16.svg)" in text and set(found) == {"tiny-1x16.svg"}
    drawn = ElementTree.fromstring(found["tiny-1x16.svg"])
    dots = [float(dot.get("cx", "")) for dot in drawn.iter() if dot.tag.endswith("circle")][3:]
    zero = next(float(line.get("x1", "")) for line in drawn.iter() if line.get("stroke") == "#222222")
    assert len(dots) == 3 and dots[0] < dots[2] < dots[1] == zero, "-10, the mean of both, and 0"


@pytest.mark.usefixtures("tiny")
def test_what_is_there_is_not_taught_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAILORBIRD_HOME", str(tmp_path / "home"))
    data = make_data(tmp_path / "data.csv")
    teacher = make_teacher(tmp_path / "teacher", data)

    def run(seeds: int, workers: int) -> dict[str, object]:
        grid.main(
            [f"tone={data}"],
            str(teacher),
            ["tiny"],
            seeds,
            workers=workers,
            results=tmp_path / "r",
            page_file=tmp_path / "p.md",
        )
        return dict(json.loads((tmp_path / "r" / "tone.json").read_text())["cells"])

    # The second time here, since a worker takes seconds to begin.
    one, two = run(1, workers=1), run(2, workers=0)
    assert len(one) == 3 and len(two) == 6
    again = next(cell for cell in one.values() if cell["arm"] == "as before")
    logits = next(cell for cell in one.values() if cell["arm"] == "logits")
    assert again == {**logits, "table": "again", "arm": "as before"}, "one student of two tables is taught once"
    assert {place: two[place] for place in one} == one, "seconds of training among them, so nothing was done again"
    assert "| logits |" in (tmp_path / "p.md").read_text()


def test_where_nothing_can_be_cut_from_a_teacher_students_start_at_random(tmp_path: Path) -> None:
    words = ("good", "bad", "film")
    cases = {"deberta-v2": (DebertaV2ForSequenceClassification, {"random"}),
             "roberta": (RobertaForSequenceClassification, {"random", "refitted", "sliced"})}  # fmt: skip
    for kind, (model, startable) in cases.items():
        folder = write_stock(kind, tmp_path / kind, words, model, num_labels=2)
        split = Split(("good film", "bad film"), None, (1, 0))
        task = Task("tone", "", "", ("bad", "good"), split, split, split, kind)
        room = Classroom(Teacher(folder, kind, "", 0, kind, 40, 1.0), task)
        arms = {start: cells.recipe(cells.ANSWERS, start=start) for start in ("random", "refitted", "sliced")}
        arms["whole layers"] = cells.recipe(cells.ANSWERS, start="teacher-layers")
        made = (cells.Cell("start", "1x16", "tone", SHAPE, arm, how, 5, 0) for arm, how in arms.items())
        assert {cell.arm for cell in made if grid.can_start(room, cell)} == startable


def test_a_task_without_a_name_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="NAME=FOLDER"):
        grid.main([str(tmp_path)], results=tmp_path, page_file=tmp_path / "p.md")
    with pytest.raises(UserError, match="unknown stage 'begin': use one of start, "):
        grid.main([f"a={tmp_path}"], stage=["begin"], results=tmp_path, page_file=tmp_path / "p.md")
    with pytest.raises(UserError, match="unknown table '4x31': use one of 4x312, "):
        grid.main([f"a={tmp_path}"], stage=["start"], table=["4x31"], results=tmp_path, page_file=tmp_path / "p.md")


@pytest.mark.usefixtures("tiny")
def test_results_of_another_teacher_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAILORBIRD_HOME", str(tmp_path / "home"))
    data = make_data(tmp_path / "data.csv")
    teacher = make_teacher(tmp_path / "teacher", data)
    stored = {"teacher": "another", "teacher_name": "mpnet", "cells": {"start/1x16/a/0/k": {}}}
    path = tmp_path / "tone.json"
    path.write_text(json.dumps(stored))
    with pytest.raises(UserError, match=r"tone.json is of another fitted teacher \(mpnet, another\): move it away"):
        grid.prepare(tmp_path, "tone", str(data), str(teacher))
    assert json.loads(path.read_text()) == stored
    path.unlink()
    have, _ = grid.prepare(tmp_path, "tone", str(data), str(teacher))
    path.write_text(json.dumps({**have, "teacher_weights": "of another fit", "cells": stored["cells"]}))
    with pytest.raises(UserError, match="another fitted teacher"):
        grid.prepare(tmp_path, "tone", str(data), str(teacher))
