"""Searches whose students have layers of other types than transformers, from the space file to the verdict."""

from dataclasses import replace
from pathlib import Path

import onnxruntime
import pytest
from tiny_kinds import write
from tiny_search import QUIET, SPACE, tiny_search

from nas.search import SearchSettings, search
from students.bert import load_model
from students.spec import StudentSpec

DEEPER = SPACE.replace("layers: [1, 2]", "layers: [1, 2, 3]")
# Feed-forwards alone see no other word, and so answer nothing: they would need others beside them.
UNUSUAL = f"{DEEPER}types: [convolution of 15, bottleneck to 1/2]\n"
MIXED = f"""{DEEPER}alike_share: 0.3
types: {{transformer: 3, convolution of 3: 2, feed-forward x 2: 1, bottleneck to 1/2: 1}}
attention_last: true
"""
COMPACT = SPACE.replace("layers: [1, 2]", "layers: [2, 3]") + "embedding: [6, 8, 12]\nsharing: [1, 2]\n"


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SearchSettings:
    return replace(tiny_search(tmp_path, monkeypatch, UNUSUAL), data=str(write("classification", tmp_path)))


def test_types_side_by_side_below_attention(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = tiny_search(tmp_path, monkeypatch, MIXED)
    (verdict,) = search(replace(settings, data=str(write("classification", tmp_path)), method="nsga2"), QUIET)
    spec = StudentSpec.from_json(verdict["student"]["spec"])
    assert verdict["within_budget"] and verdict["parity"]["max_abs_error"] <= 1e-4
    assert spec.layers[-1].type in ("transformer", "bottleneck") and verdict["score"]["student"] > 0.7


def test_a_student_without_a_single_transformer(settings: SearchSettings, tmp_path: Path) -> None:
    (verdict,) = search(settings, QUIET)
    spec, folder = StudentSpec.from_json(verdict["student"]["spec"]), tmp_path / "run/students/1.5ms"
    assert verdict["within_budget"] and verdict["parity"]["max_abs_error"] <= 1e-4
    assert {layer.type for layer in spec.layers} <= {"convolution", "bottleneck"}
    assert load_model(folder / "student").config.spec_object == spec
    assert verdict["score"]["student"] > 0.7, "it was cut from its teacher, and taught"
    for file in verdict["student"]["files"]:
        onnxruntime.InferenceSession(folder / file["file"], providers=["CPUExecutionProvider"])
    card = (folder / "student/README.md").read_text()
    assert all(f"| {number} | {layer.type} |" in card for number, layer in enumerate(spec.layers, 1))


def test_small_files_of_shared_layers_and_narrow_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By parts of a supernet, under a limit that no student keeps whose layers are all its own."""
    settings = tiny_search(tmp_path, monkeypatch, COMPACT)
    settings = replace(
        settings, data=str(write("classification", tmp_path)), method="autotinybert", max_parameters=2800
    )
    (verdict,) = search(settings, QUIET)
    spec = StudentSpec.from_json(verdict["student"]["spec"])
    assert spec.sharing == (0, 0, 2)[: len(spec.layers)] and spec.embedding_width < spec.hidden_width
    assert verdict["within_budget"] and verdict["parity"]["max_abs_error"] <= 1e-4
    student = load_model(tmp_path / "run/students/1.5ms/student")
    assert verdict["student"]["parameters"] == spec.parameters() == student.num_parameters() <= 2800


def test_parts_of_a_supernet_of_several_types(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = tiny_search(tmp_path, monkeypatch, MIXED)
    (verdict,) = search(replace(settings, data=str(write("classification", tmp_path)), method="autotinybert"), QUIET)
    held = load_model(tmp_path / "run/supernet").config.spec_object
    assert [layer.type for layer in held.layers] == ["transformer", "bottleneck", "convolution", "feed-forward"] * 3
    assert verdict["within_budget"] and verdict["parity"]["max_abs_error"] <= 1e-4
    assert verdict["score"]["student"] > 0.7 and verdict["schedule"]["supernet_steps"] > 0
