"""The fastest student that keeps a share is chosen on validation; its accuracy is test's, its time the clock's."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import kept  # noqa: E402
from grid.teaching import as_text  # noqa: E402
from quality.kept import fastest, ladder, methods_of  # noqa: E402

from runs.errors import UserError  # noqa: E402
from students.spec import Head, StudentSpec, uniform_spec  # noqa: E402


def spec(hidden: int) -> StudentSpec:
    return uniform_spec(1, hidden, 1, 2 * hidden, vocabulary_size=40, head=Head("classification", 2))


def right(share: float, count: int = 100) -> Any:
    return np.arange(count) < round(share * count)


def results() -> dict[str, Any]:
    """A task whose teacher is right on 90 % of validation and 80 % of test."""
    both = {"examples": 100, "teacher": as_text(right(0.9)), "bag_of_words": as_text(right(0.5))}
    test = both | {"teacher": as_text(right(0.8))}
    cells = {
        # Over both seeds the smallest budget keeps too little; its first seed alone would do.
        "0.5/searched/0": (0.9, 0.7, 8),
        "0.5/searched/1": (0.8, 0.7, 8),
        "1/searched/0": (0.89, 0.76, 16),
        "1/searched/1": (0.88, 0.72, 16),
        "2/searched/0": (0.9, 0.8, 24),
        "0.5/by hand: small/0": (0.7, 0.9, 8),
    }
    return {
        "references": {"teacher": {"validation": both, "test": test}},
        "cells": {
            place: {
                "spec": spec(width).to_json(),
                "weights": "teacher",
                "validation": validation,
                "right": as_text(right(accuracy)),
            }
            for place, (validation, accuracy, width) in cells.items()
        },
    }


def test_validation_chooses_over_all_seeds_and_test_is_what_is_said() -> None:
    found = fastest(results(), "searched", 0.97)
    assert found is not None and found.budget_ms == 1 and found.spec == spec(16)
    assert found.test.mean == pytest.approx(0.74) and found.of_teacher == pytest.approx(0.74 / 0.8)
    assert found.minus_teacher.mean == pytest.approx(-0.06) and found.minus_teacher.high < 0
    assert fastest(results(), "by hand: small", 0.97) is None
    steps = ladder(results(), "searched")
    assert list(steps) == [0.5, 1, 2] and steps[1] == pytest.approx((0.885 / 0.9, 0.74 / 0.8))
    assert methods_of(results()) == ["searched", "by hand: small"]


def test_the_page_has_times_of_the_students_that_were_timed_and_no_others(tmp_path: Path) -> None:
    stored, page = tmp_path / "task.json", tmp_path / "page.md"
    stored.write_text(json.dumps(results()))
    kept.main(["task=16"], clock=True, teacher_shape="bert-tiny", results=tmp_path, page=page)
    row = next(line for line in page.read_text().splitlines() if line.startswith("| searched"))
    cells = [cell.strip() for cell in row.split("|")]
    assert cells[2] == "1 ms" and float(cells[7]) > 0 and float(cells[8]) > 0 and float(cells[9]) > 0
    other = results()
    other["cells"]["1/searched/0"]["spec"] = spec(12).to_json()
    stored.write_text(json.dumps(other))
    kept.main(["task=16"], results=tmp_path, page=page)
    row = next(line for line in page.read_text().splitlines() if line.startswith("| searched"))
    assert [cell.strip() for cell in row.split("|")][7:11] == [""] * 4, "another student was timed"


def test_a_task_without_a_length_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="=32"):
        kept.main(["task"], results=tmp_path, page=tmp_path / "page.md")
