"""Every item becomes every kind of artifact that it can be, and says clearly which it cannot."""

from pathlib import Path

import numpy as np
import pytest

import devices.targets  # noqa: F401
from devices.target import ArtifactKind, DescriptionArtifact, OnnxArtifact, TorchArtifact, open_target
from devices.workload import Precision, Workload
from export.form import Form
from export.graph import student_graph
from export.items import Checkpoint, GraphFile, Item, Stack, item_from_json, item_key
from export.lowering import LOWERINGS, load_module, lower
from export.student import export_student
from export.weights import module_weights
from runs.errors import UserError
from students.spec import EmbeddingBlock, HeadBlock, LayerBlock, StudentSpec, TransformerLayer

WORKLOADS = [Workload(1, 12), Workload(3, 5), Workload(2, 7, precision="int8")]
ARTIFACTS = {
    "torch": TorchArtifact,
    "onnx": OnnxArtifact,
    "onnx-fused": OnnxArtifact,
    "description": DescriptionArtifact,
}
ITEMS = ["layers", "embedding", "head", "student", "checkpoint", "bert", "graph"]
TARGETS = {"torch": "cpu", "onnx": "onnxruntime", "onnx-fused": "onnxruntime"}


@pytest.fixture
def items(student_folder: Path, bert_folder: Path, tmp_path: Path, uneven_spec: StudentSpec) -> dict[str, Item]:
    export_student(student_folder, tmp_path / "files")
    return {
        "layers": Stack(LayerBlock(24, TransformerLayer(2, 16, 40)), 2),
        "embedding": Stack(EmbeddingBlock(8, 16, 20, 12, 2)),
        "head": Stack(HeadBlock(8, 2)),
        "student": uneven_spec,
        "checkpoint": Checkpoint(student_folder),
        "bert": Checkpoint(bert_folder),
        "graph": GraphFile(tmp_path / "files" / "student.onnx"),
    }


def can_be(name: str, kind: str) -> bool:
    return kind != "torch" or name != "graph"


@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda workload: workload.key)
@pytest.mark.parametrize("kind", LOWERINGS.names())
@pytest.mark.parametrize("name", ITEMS)
def test_every_item_runs_on_the_targets_of_every_kind(
    name: str, kind: str, workload: Workload, items: dict[str, Item]
) -> None:
    item = items[name]
    if not can_be(name, kind):
        with pytest.raises(UserError, match="onnxruntime"):
            lower(item, kind, workload)
        return
    artifact = lower(item, kind, workload)
    assert isinstance(artifact, ARTIFACTS[kind])
    assert artifact.key == item_key(item)
    if isinstance(artifact, DescriptionArtifact):
        assert item_key(item_from_json(artifact.description)) == artifact.key
    else:
        session = open_target(TARGETS[kind]).open(artifact, workload)
        (answer, *_) = session.run()
        session.close()
        assert answer.shape[0] == workload.batch_size
        assert np.isfinite(answer).all()


@pytest.mark.parametrize("name", ["layers", "embedding", "head", "student", "checkpoint", "bert"])
def test_torch_and_onnx_artifacts_are_the_same_network_with_the_same_inputs(name: str, items: dict[str, Item]) -> None:
    workload = Workload(2, 9)
    answers = []
    for kind, target in TARGETS.items():
        session = open_target(target).open(lower(items[name], kind, workload, seed=5), workload)
        answers.append(session.run()[0])
        session.close()
    for other in answers[1:]:
        np.testing.assert_allclose(answers[0], other, atol=1e-4)


@pytest.mark.parametrize(("kind", "precision"), [("onnx", "fp16"), ("onnx-fused", "bf16")])
def test_a_graph_in_a_precision_that_its_kind_lacks_is_refused(
    kind: ArtifactKind, precision: Precision, uneven_spec: StudentSpec
) -> None:
    with pytest.raises(UserError, match=f"no {kind} graphs in {precision}: use --precision fp32"):
        lower(uneven_spec, kind, Workload(1, 12, precision=precision))


def test_usual_ranges_leave_dynamic_rounding_as_it_is(uneven_spec: StudentSpec) -> None:
    module = load_module(uneven_spec)
    without = student_graph(uneven_spec, module_weights(module), Form("onnxruntime", "int8"))
    artifact = lower(uneven_spec, "onnx-fused", Workload(1, 12, precision="int8"))
    assert artifact.model == without.SerializeToString()


def test_seeds_decide_weights_and_inputs(uneven_spec: StudentSpec) -> None:
    workload = Workload(1, 6)
    first, again, other = (lower(uneven_spec, "onnx", workload, seed) for seed in (1, 1, 2))
    assert first.model == again.model != other.model
    assert not np.array_equal(first.inputs["input_ids"], other.inputs["input_ids"])
    assert first.inputs["attention_mask"].all() and not first.inputs["token_type_ids"].any()


@pytest.mark.parametrize("name", ["student", "checkpoint", "embedding"])
@pytest.mark.parametrize("kind", TARGETS)
def test_a_sequence_beyond_the_positions_is_refused(name: str, kind: str, items: dict[str, Item]) -> None:
    with pytest.raises(UserError, match="positions"):
        lower(items[name], kind, Workload(1, 65))


def test_a_folder_that_is_no_model_says_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        lower(Checkpoint(tmp_path / "nowhere"), "torch", Workload())
    (tmp_path / "config.json").write_text('{"model_type": "roberta"}')
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(UserError, match="roberta"):
        lower(Checkpoint(tmp_path), "onnx", Workload())
