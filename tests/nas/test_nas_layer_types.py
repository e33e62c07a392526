"""Searches whose students have layers of other types than transformers, from the space file to the verdict."""

from dataclasses import replace
from pathlib import Path

import onnxruntime
import pytest
from tiny_kinds import write
from tiny_search import QUIET, tiny_search

from nas.search import SearchSettings, search
from runs.errors import UserError
from students.bert import load_model
from students.spec import StudentSpec

# Feed-forwards alone see no other word, and so answer nothing: they would need others beside them.
SPACE = """\
layers: [1, 2, 3]
hidden: [16, 24]
activation: [gelu]
alike: false
heads: [1, 2, 4]
qkv: [6 per head]
ffn: [16, 32, 48]
types: [convolution of 15, bottleneck to 1/2]
"""


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SearchSettings:
    return replace(tiny_search(tmp_path, monkeypatch, SPACE), data=str(write("classification", tmp_path)))


MIXED = """\
layers: [1, 2, 3]
hidden: [16, 24]
activation: [gelu]
alike: false
alike_share: 0.3
heads: [1, 2, 4]
qkv: [6 per head]
ffn: [16, 32, 48]
types: {transformer: 3, convolution of 3: 2, feed-forward x 2: 1, bottleneck to 1/2: 1}
attention_last: true
"""


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


def test_a_supernet_of_such_layers_is_refused_before_anything_is_made(settings: SearchSettings, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has layers of type convolution, and a supernet's are transformers alone"):
        search(replace(settings, method="autotinybert"), QUIET)
    assert not (tmp_path / "run").exists()
    # Before a profile of minutes would be made, too.
    with pytest.raises(UserError, match="transformers alone"):
        replace(settings, method="autotinybert", target=None).check()
