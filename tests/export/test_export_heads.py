"""Every head kind in every dialect: parity, names and shapes of answers, the tied table, how answers compare."""

from pathlib import Path
from typing import get_args

import numpy as np
import onnx
import pytest
import torch

from devices.workload import Workload
from export.agreement import AGREEMENTS, compare
from export.causal import CACHED
from export.form import Form
from export.graph import stack_graph, student_graph
from export.graph_file import read_graph_file
from export.head_blocks import ANSWERS, DECODER, WORDS
from export.items import Stack, block_from_json, block_to_json
from export.lowering import lower
from export.part import DIALECTS
from export.student import export_student
from export.verify import open_graph, random_batches, run_graph, run_model, verify
from export.weights import module_weights, random_module
from runs.errors import UserError
from students.model import build_student
from students.spec import (
    BottleneckLayer,
    ConvolutionLayer,
    FeedForwardLayer,
    Head,
    HeadKind,
    LanguageHeadBlock,
    StudentSpec,
    TokenHeadBlock,
    TransformerLayer,
)

KINDS = get_args(HeadKind)
LABELS = {"regression": 1, "tokens": 5, "classification": 3}


def spec_of(kind: HeadKind, embedding_width: int = 16) -> StudentSpec:
    third = BottleneckLayer(12, 3, 18, 20, 2, "silu") if kind == "causal-lm" else ConvolutionLayer(3, 20)
    layers = (TransformerLayer(2, 16, 40), FeedForwardLayer(30, 2), third, TransformerLayer(3, 12, 24, "relu"))
    head = Head(kind, LABELS.get(kind, 2))
    return StudentSpec(embedding_width, 24, layers, vocabulary_size=90, maximum_positions=128, head=head)


def lively(spec: StudentSpec) -> torch.nn.Module:
    model = random_module(spec, 2)
    for name, value in model.named_parameters():
        value.data *= 1.0 if name.endswith("norm.weight") else 4.0
    return model


def test_every_kind_is_in_every_registry() -> None:
    for registry in (ANSWERS, AGREEMENTS):
        assert set(registry) == set(KINDS)


@pytest.mark.parametrize("dialect", DIALECTS.names())
@pytest.mark.parametrize("kind", KINDS)
class TestEveryHead:
    def test_the_graph_answers_like_the_model(self, kind: HeadKind, dialect: str) -> None:
        for width in (16, 24):
            spec = spec_of(kind, width)
            model = lively(spec)
            graph = student_graph(spec, module_weights(model), Form(dialect))
            onnx.checker.check_model(graph, full_check=True)
            parity = verify(model, graph.SerializeToString(), random_batches(spec))
            assert parity.max_abs_error <= 1e-4
            assert parity.agreement == 1.0
            assert parity.examples == 9

    def test_int8_stays_near(self, kind: HeadKind, dialect: str) -> None:
        spec = spec_of(kind)
        model = lively(spec)
        batches = random_batches(spec)
        graph = student_graph(spec, module_weights(model), Form(dialect, "int8"))
        parity = verify(model, graph.SerializeToString(), batches)
        assert 0 < parity.max_abs_error <= 0.35 * parity.largest

    def test_fixed_axes(self, kind: HeadKind, dialect: str) -> None:
        spec = spec_of(kind)
        model = lively(spec)
        form = Form(dialect, batch_size=3, sequence_length=8)
        data = student_graph(spec, module_weights(model), form).SerializeToString()
        rng = np.random.default_rng(0)
        ids = rng.integers(0, 90, (3, 16 if kind == "causal-lm" else 8))
        batch = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        (expected,), (found,) = run_model(model, [batch]), run_graph(data, [batch])
        np.testing.assert_allclose(found, expected, atol=1e-4)

    def test_a_spec_is_lowered_with_what_it_takes(self, kind: HeadKind, dialect: str) -> None:
        artifact = lower(spec_of(kind), {"portable": "onnx", "onnxruntime": "onnx-fused"}[dialect], Workload(2, 6))
        session = open_graph(artifact.model)
        assert set(artifact.inputs) == {given.name for given in session.get_inputs()}
        assert session.run(None, artifact.inputs)[0].shape[0] == 2


@pytest.mark.parametrize("kind", KINDS)
def test_a_checkpoint_is_exported_and_says_what_it_is(kind: HeadKind, tmp_path: Path) -> None:
    build_student(spec_of(kind), seed=4).save_pretrained(tmp_path / "checkpoint")
    forms = (Form(), Form("onnxruntime"), Form("onnxruntime", "int8"))
    files = export_student(tmp_path / "checkpoint", tmp_path / "files", forms)
    assert [file.parity.max_abs_error <= 1e-4 for file in files[:2]] == [True, True]
    for file in files:
        assert read_graph_file(file.path).spec == spec_of(kind)


def test_a_causal_graph_reads_no_pairs() -> None:
    spec = spec_of("causal-lm")
    data = student_graph(spec, module_weights(lively(spec))).SerializeToString()
    ids = np.ones((1, 4), dtype=np.int64)
    with pytest.raises(UserError, match="no pairs"):
        list(run_graph(data, [{"input_ids": ids, "attention_mask": ids, "token_type_ids": ids}]))


def test_every_dialect_has_a_form_with_a_cache() -> None:
    assert set(CACHED) == set(DIALECTS)


OUTPUTS: dict[str, list[tuple[str, list[object]]]] = {
    "none": [("last_hidden_state", ["batch", "sequence", 24])],
    "classification": [("logits", ["batch", 3])],
    "regression": [("logits", ["batch", 1])],
    "tokens": [("logits", ["batch", "sequence", 5])],
    "spans": [("start_logits", ["batch", "sequence"]), ("end_logits", ["batch", "sequence"])],
    "masked-lm": [("logits", ["batch", "sequence", 90])],
    "causal-lm": [("logits", ["batch", "sequence", 90])],
}


@pytest.mark.parametrize("kind", KINDS)
def test_answers_have_their_names_and_shapes(kind: HeadKind) -> None:
    spec = spec_of(kind)
    graph = student_graph(spec, module_weights(lively(spec)))
    session = open_graph(graph.SerializeToString())
    found = [(value.name, value.shape) for value in session.get_outputs() if not value.name.startswith("present.")]
    assert found == OUTPUTS[kind]


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize("kind", ["masked-lm", "causal-lm"])
def test_the_word_embedding_is_stored_once(kind: HeadKind, precision: str) -> None:
    spec = spec_of(kind)
    for dialect in DIALECTS:
        model = student_graph(spec, module_weights(lively(spec)), Form(dialect, precision))
        names = {tensor.name for tensor in model.graph.initializer}
        assert WORDS in names and DECODER not in names
        large = [tensor for tensor in model.graph.initializer if sorted(tensor.dims) == [16, 90]]
        assert len(large) == 1


def test_a_table_in_another_precision_is_not_taken_for_the_decoder() -> None:
    spec = spec_of("masked-lm")
    model = lively(spec)
    for form in (Form(embeddings="int8"), Form(precision="int8", embeddings="fp32")):
        graph = student_graph(spec, module_weights(model), form)
        assert DECODER in {tensor.name for tensor in graph.graph.initializer}
        parity = verify(model, graph.SerializeToString(), random_batches(spec))
        assert parity.max_abs_error <= 0.35 * parity.largest


@pytest.mark.parametrize("dialect", DIALECTS.names())
def test_a_token_head_alone(dialect: str) -> None:
    stack = Stack(TokenHeadBlock(12, 4))
    module = random_module(stack)
    hidden = np.random.default_rng(0).standard_normal((2, 5, 12)).astype(np.float32)
    (found,) = run_graph(
        stack_graph(stack, module_weights(module), Form(dialect)).SerializeToString(), [{"hidden": hidden}]
    )
    with torch.inference_mode():
        np.testing.assert_allclose(found, module(torch.from_numpy(hidden)).numpy(), atol=1e-5)


def test_a_language_head_alone_is_refused() -> None:
    with pytest.raises(UserError, match="reads the word embedding"):
        lower(Stack(LanguageHeadBlock(8, 8, 20)), "onnx", Workload(1, 4))


@pytest.mark.parametrize("block", [TokenHeadBlock(8, 3), LanguageHeadBlock(8, 6, 20)])
def test_head_blocks_as_json(block: object) -> None:
    assert block_from_json(block_to_json(block)) == block


MASK = np.array([[1, 1, 1, 0], [1, 0, 0, 0]])


@pytest.mark.parametrize("kind", ["none", "tokens", "spans", "masked-lm", "causal-lm"])
class TestPaddingDoesNotCount:
    def answers(self) -> np.ndarray:
        return np.random.default_rng(4).standard_normal((2, 4, 2))

    def test_at_padding(self, kind: HeadKind) -> None:
        other = self.answers()
        other[MASK == 0] = 100.0 * np.array([1.0, -1.0])
        parity = compare([self.answers()], [other], kind, [MASK])
        assert (parity.agreement, parity.max_abs_error) == (1.0, 0.0)
        assert compare([self.answers()], [other], kind).max_abs_error > 90

    def test_elsewhere(self, kind: HeadKind) -> None:
        other = -3 * self.answers()
        parity = compare([self.answers()], [other], kind, [MASK])
        assert parity.agreement < 1.0
        assert parity.max_abs_error > 0.1


def test_the_share_of_an_examples_tokens() -> None:
    reference = np.zeros((2, 4, 2))
    reference[..., 0] = 1
    other = reference.copy()
    other[0, 1] = other[1, 2] = [0, 1]
    assert compare([reference], [other], "tokens", [MASK]).agreement == pytest.approx((2 / 3 + 1) / 2)
    assert compare([reference], [other], "tokens", [np.zeros_like(MASK)]).agreement == 1.0
    assert compare([reference], [np.full_like(other, np.nan)], "tokens", [MASK]).max_abs_error == float("inf")
