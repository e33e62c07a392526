"""Items survive JSON, have keys by content, and know their blocks."""

import json
import shutil
from pathlib import Path

import pytest

from export.form import Form
from export.items import (
    ITEM_READERS,
    Checkpoint,
    GraphFile,
    Item,
    Stack,
    copies,
    item_blocks,
    item_from_json,
    item_key,
    item_to_json,
)
from export.student import export_student
from runs.errors import UserError
from students.spec import EmbeddingBlock, HeadBlock, LayerBlock, StudentSpec, TransformerLayer

LAYER = LayerBlock(24, TransformerLayer(2, 16, 40))


@pytest.fixture
def items(student_folder: Path, tmp_path: Path, uneven_spec: StudentSpec) -> dict[str, Item]:
    export_student(student_folder, tmp_path / "files", (Form(),))
    return {
        "stack": Stack(LAYER, 3),
        "student": uneven_spec,
        "checkpoint": Checkpoint(student_folder),
        "graph": GraphFile(tmp_path / "files" / "student.onnx"),
    }


@pytest.mark.parametrize("kind", ITEM_READERS.names())
def test_json_round_trip_keeps_the_item_and_its_key(kind: str, items: dict[str, Item]) -> None:
    again = item_from_json(json.loads(json.dumps(item_to_json(items[kind]))))
    assert again == items[kind]
    assert item_key(again) == item_key(items[kind])


def test_whole_models_of_one_spec_have_the_same_blocks(items: dict[str, Item], uneven_spec: StudentSpec) -> None:
    for kind in ("student", "checkpoint", "graph"):
        assert item_blocks(items[kind]) == uneven_spec.blocks()
    assert item_blocks(items["stack"]) == (LAYER,) * 3


@pytest.mark.parametrize("block", [EmbeddingBlock(8, 8, 20, 10, 2), HeadBlock(8, 2), LAYER])
def test_blocks_round_trip_and_only_layers_stack(block: object) -> None:
    stack = Stack(block, 4)
    assert copies(stack) == (4 if block is LAYER else 1)
    again = item_from_json(item_to_json(stack))
    assert item_key(again) == item_key(stack)
    assert item_blocks(again) == item_blocks(stack) == (block,) * copies(stack)


def test_keys_differ_where_anything_differs(uneven_spec: StudentSpec) -> None:
    items = [
        Stack(LAYER, 3),
        Stack(LAYER, 4),
        Stack(LayerBlock(24, TransformerLayer(4, 16, 40)), 3),
        Stack(LayerBlock(24, TransformerLayer(2, 16, 40, "relu")), 3),
        uneven_spec,
        Stack(EmbeddingBlock(8, 8, 20, 10, 2)),
        Stack(HeadBlock(8, 2)),
    ]
    assert len({item_key(item) for item in items}) == len(items)


def test_a_checkpoints_key_is_its_content(student_folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(student_folder, tmp_path / "elsewhere")
    before = item_key(Checkpoint(student_folder))
    assert item_key(Checkpoint(copy)) == before
    (copy / "tokenizer.json").write_text("{}")
    assert item_key(Checkpoint(copy)) == before
    weights = copy / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    assert item_key(Checkpoint(copy)) != before


@pytest.mark.parametrize(
    "value", [None, 3, "stack", {}, {"kind": "stack"}, {"kind": "other"}, {"kind": "stack", "block": {"kind": "head"}}]
)
def test_garbage_is_refused(value: object) -> None:
    with pytest.raises(UserError):
        item_from_json(value)


def test_missing_places_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        item_key(Checkpoint(tmp_path / "nowhere"))
    with pytest.raises(UserError, match=r"no config\.json"):
        item_key(Checkpoint(tmp_path))
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UserError, match="no weights"):
        item_key(Checkpoint(tmp_path))
    with pytest.raises(UserError, match="does not exist"):
        item_key(GraphFile(tmp_path / "no.onnx"))
