"""Whole searches for kinds of tasks other than classes, in a tiny world; a found language model then learns a task."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from stock_models import write_stock
from tiny_kinds import BAD, GOOD, PLAIN, write
from tiny_search import QUIET, SPACE, TRAINING, tiny_search

from distill.classroom import classroom
from distill.distillation import distil
from distill.kinds import KINDS
from distill.recipe_file import RECIPES
from distill.tasks import load_task
from distill.teachers import prepare_teacher
from nas.search import SearchSettings, search
from runs.errors import UserError
from students.bert import load_model
from students.model import encoder_of
from students.spec import StudentSpec

LARGEST_MB = 0.055

ANSWERS = {"classification": (3, 2), "regression": (3, 1), "tokens": (3, 7, 3), "masked-lm": (3, 7), "spans": (3, 7)}
"""Shape of a file's answers to 3 texts of 7 tokens, without the width of hidden states."""


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SearchSettings:
    return replace(tiny_search(tmp_path, monkeypatch, SPACE), method="random", max_file_mb=LARGEST_MB)


def searched(settings: SearchSettings, kind: str, root: Path) -> dict[str, Any]:
    """The verdict for data of a kind, seen to be whole."""
    asked = kind if kind.endswith("-lm") else None
    (verdict,) = search(replace(settings, data=str(write(kind, root)), task=asked), QUIET)
    score = verdict["score"]
    assert verdict["within_budget"] and verdict["task"] == kind and score["metric"] == KINDS[kind].metric
    assert 0 < score["student"] <= 1 and 0 < score["teacher"] <= 1 and 0 <= score["bag_of_words"] <= 1
    assert verdict["parity"]["max_abs_error"] <= 1e-4 and verdict["parity"]["agreement"] >= 0.99
    assert verdict["limits"] == {
        "parameters": None, "file_bytes": 1e6 * LARGEST_MB, "memory_bytes": None, "file": "student.onnx", "kept": True
    }  # fmt: skip
    result = root / "run/students/1.5ms"
    assert (result / "student.onnx").stat().st_size <= 1e6 * LARGEST_MB
    for file in verdict["student"]["files"]:
        assert 1e6 < file["memory_bytes"] < 1e8
        session = onnxruntime.InferenceSession(result / file["file"], providers=["CPUExecutionProvider"])
        given = {one.name: np.full((3, 7), one.name != "token_type_ids", np.int64) for one in session.get_inputs()}
        answers = session.run(None, given)
        assert answers[0].shape[: len(ANSWERS[kind])] == ANSWERS[kind] and len(answers) == (2 if kind == "spans" else 1)
    return verdict


@pytest.mark.parametrize("kind", ["regression", "tokens", "spans"])
def test_a_student_that_answers_as_the_data_asks(settings: SearchSettings, kind: str, tmp_path: Path) -> None:
    verdict = searched(settings, kind, tmp_path)
    spec = StudentSpec.from_json(verdict["student"]["spec"])
    assert load_model(tmp_path / "run/students/1.5ms/student").config.spec_object == spec and spec.head.kind == kind


def test_a_language_model_that_tasks_start_from(settings: SearchSettings, tmp_path: Path) -> None:
    # By a supernet, whose parts are taught as what they are and timed as what they are used as.
    verdict = searched(replace(settings, method="autotinybert"), "masked-lm", tmp_path)
    result = tmp_path / "run/students/1.5ms"
    found, spec = load_model(result / "student"), StudentSpec.from_json(verdict["student"]["spec"])
    assert found.config.spec_object.head.kind == "masked-lm" and spec.head.kind == "none"
    assert verdict["teacher"]["timed_as"] == "its encoder"
    assert load_model(result / "encoder").config.spec_object == spec
    assert verdict["student"]["parameters"] < found.config.spec_object.parameters()
    assert "fill-mask" in (result / "student/README.md").read_text()
    # It starts a student of a task, which begins with its encoder's weights.
    (tmp_path / "task").mkdir()
    task = load_task(str(write("classification", tmp_path / "task")), QUIET)
    teacher = prepare_teacher(settings.teacher, task, QUIET, training=TRAINING)
    recipe = replace(RECIPES["default"], initialization=str(result / "student"))
    asked = replace(spec, head=KINDS["classification"].head_for(task.label_names))
    start = encoder_of(classroom(teacher, task).start(asked, recipe, 0)).state_dict()
    assert all(torch.equal(start[name], weights) for name, weights in encoder_of(found).state_dict().items())
    recipe = replace(recipe, optimization=TRAINING)
    learnt = distil(asked, teacher, task, recipe, tmp_path / "learnt", steps=120)
    assert learnt.validation_score > 0.7


def test_the_published_loss_scores_language_models_too(settings: SearchSettings, tmp_path: Path) -> None:
    verdict = searched(replace(settings, method="kd-nas-paper"), "masked-lm", tmp_path)
    assert verdict["method"] == "kd-nas-paper" and verdict["schedule"]["steps"] > 0


def test_a_teacher_in_its_own_form(settings: SearchSettings, tmp_path: Path) -> None:
    teacher = write_stock("mpnet", tmp_path / "mpnet", (*PLAIN, *GOOD, *BAD))
    verdict = searched(replace(settings, teacher=str(teacher)), "classification", tmp_path)
    assert verdict["teacher"]["timed_as"] == "a BERT of its shape" and verdict["speedup"] > 1
    assert (
        verdict["score"]["teacher"] > 0.7
        and "timed as a BERT of its shape" in (tmp_path / "run/report.html").read_text()
    )


def test_a_teacher_that_nothing_can_be_cut_from(settings: SearchSettings, tmp_path: Path) -> None:
    teacher = write_stock("deberta-v2", tmp_path / "deberta", (*PLAIN, *GOOD, *BAD))
    data = str(write("classification", tmp_path))
    with pytest.raises(UserError, match="is of type 'deberta-v2', and a search cuts students from bert, roberta"):
        search(replace(settings, teacher=str(teacher), data=data), QUIET)


def test_a_teacher_whose_words_are_narrower_than_its_layers(settings: SearchSettings, tmp_path: Path) -> None:
    teacher = write_stock("electra", tmp_path / "electra", (*PLAIN, *GOOD, *BAD))
    data = str(write("classification", tmp_path))
    settings = replace(settings, teacher=str(teacher), data=data)
    with pytest.raises(UserError, match="has words of 16 channels under layers of 24, and no student can be cut"):
        search(settings, QUIET)
    assert not (tmp_path / "run").exists()
    narrow = tmp_path / "narrow.yaml"
    narrow.write_text(f"{SPACE}embedding: [12, 14]\n")
    (verdict,) = search(replace(settings, space=str(narrow)), QUIET)
    assert verdict["student"]["spec"]["embedding_width"] in (12, 14) and verdict["parity"]["max_abs_error"] <= 1e-4
    assert verdict["score"]["student"] > 0.7
