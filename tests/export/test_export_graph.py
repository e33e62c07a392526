"""Graphs answer what the torch modules answer, for every layer type, activation, head, precision and shape."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from export.arithmetic import ARITHMETICS, quantize_rows
from export.blocks import ACTIVATIONS, LAYERS
from export.builder import GraphBuilder
from export.form import Form
from export.graph import stack_graph, student_graph
from export.items import Stack
from export.part import DIALECTS, Weights
from export.verify import random_batches, run_graph, run_model, verify
from export.weights import module_weights, random_module, random_weights
from students.layers import ACTIVATION_FUNCTIONS, LAYER_MODULES, additive_mask
from students.spec import EmbeddingBlock, Head, HeadBlock, LayerBlock, StudentSpec, TransformerLayer

PORTABLE_DOMAINS = {""}


def heads() -> st.SearchStrategy[Head]:
    return st.one_of(
        st.just(Head("none")),
        st.just(Head("regression", 1)),
        st.integers(2, 5).map(lambda n: Head("classification", n)),
    )


@st.composite
def layer_shapes(draw: st.DrawFn) -> TransformerLayer:
    count = draw(st.integers(1, 4))
    width = count * draw(st.integers(1, 9))
    return TransformerLayer(count, width, draw(st.integers(1, 40)), draw(st.sampled_from(ACTIVATIONS.names())))


def specs() -> st.SearchStrategy[StudentSpec]:
    return st.builds(
        StudentSpec,
        embedding_width=st.integers(2, 24),
        hidden_width=st.integers(2, 24),
        layers=st.lists(layer_shapes(), min_size=1, max_size=4).map(tuple),
        vocabulary_size=st.integers(1, 60),
        maximum_positions=st.integers(1, 50),
        token_types=st.integers(1, 3),
        head=heads(),
    )


def lively(spec: StudentSpec, seed: int = 0) -> torch.nn.Module:
    """A student whose weights are large enough that a forgotten bias or scale shows in its answers."""
    model = random_module(spec, seed)
    for name, value in model.named_parameters():
        value.data *= 1.0 if name.endswith("norm.weight") else 4.0
    return model


@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(specs(), st.integers(0, 5))
def test_any_spec_has_parity_under_padding(spec: StudentSpec, seed: int) -> None:
    model = lively(spec, seed)
    graph = student_graph(spec, module_weights(model))
    onnx.checker.check_model(graph, full_check=True)
    parity = verify(model, graph.SerializeToString(), random_batches(spec, seed))
    assert parity.max_abs_error <= 1e-4
    assert parity.examples == 9


def test_every_layer_type_and_activation_of_students_is_lowered() -> None:
    assert set(LAYERS) == set(LAYER_MODULES)
    assert set(ACTIVATIONS) == set(ACTIVATION_FUNCTIONS)


def test_padding_does_not_change_an_answer(uneven_spec: StudentSpec) -> None:
    weights = module_weights(lively(uneven_spec))
    ids = np.arange(10)[None, :]
    types = np.zeros_like(ids)
    alone = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": types}
    padded = {name: np.pad(value, ((0, 0), (0, 7))) for name, value in alone.items()}
    padded["input_ids"][:, 10:] = 55
    one, other = run_graph(student_graph(uneven_spec, weights).SerializeToString(), [alone, padded])
    np.testing.assert_allclose(one, other, atol=1e-5)


ROUNDED = {"int4-weights": 1.0, "int4": 1.0}
"""Precision → how far its answers may be off, as a share of the answers' spread, where that is more than `ANY`."""

ANY = 0.3


@pytest.mark.parametrize("dialect", DIALECTS.names())
def test_answers_do_not_depend_on_the_dialect_or_on_fixed_axes(dialect: str, uneven_spec: StudentSpec) -> None:
    weights = module_weights(lively(uneven_spec))
    for batch in random_batches(uneven_spec):
        sizes = batch["input_ids"].shape
        forms = (Form(), Form(dialect), Form(dialect, batch_size=sizes[0], sequence_length=sizes[1]))
        exact, *others = (next(run_graph(graph_bytes(uneven_spec, weights, form), [batch])) for form in forms)
        for other in others:
            np.testing.assert_allclose(exact, other, atol=1e-5)


def graph_bytes(spec: StudentSpec, weights: Weights, form: Form) -> bytes:
    return student_graph(spec, weights, form).SerializeToString()


def test_a_fixed_shape_needs_no_shape_arithmetic(uneven_spec: StudentSpec) -> None:
    weights = module_weights(lively(uneven_spec))
    for dialect in DIALECTS.names():
        graph = student_graph(uneven_spec, weights, Form(dialect, batch_size=2, sequence_length=9)).graph
        assert not {"Shape", "Slice", "Concat", "Where", "IsNaN"} & {node.op_type for node in graph.node}
        assert [axis.dim_value for axis in graph.input[0].type.tensor_type.shape.dim] == [2, 9]


@pytest.mark.parametrize("dialect", DIALECTS.names())
@pytest.mark.parametrize("precision", [name for name in ARITHMETICS if ARITHMETICS[name].calibrated is None])
class TestEveryForm:
    def test_axes_are_dynamic_and_operators_standard(
        self, precision: str, dialect: str, uneven_spec: StudentSpec
    ) -> None:
        graph = student_graph(uneven_spec, module_weights(lively(uneven_spec)), Form(dialect, precision))
        onnx.checker.check_model(graph, full_check=True)
        if dialect == "portable":
            assert {node.domain for node in graph.graph.node} == PORTABLE_DOMAINS
        for value in graph.graph.input:
            assert [axis.dim_param for axis in value.type.tensor_type.shape.dim] == ["batch", "sequence"]

    def test_answers_stay_near_the_model(self, precision: str, dialect: str, uneven_spec: StudentSpec) -> None:
        weights = module_weights(lively(uneven_spec))
        batches = random_batches(uneven_spec)
        exact = np.concatenate(list(run_graph(graph_bytes(uneven_spec, weights, Form()), batches)))
        answers = np.concatenate(list(run_graph(graph_bytes(uneven_spec, weights, Form(dialect, precision)), batches)))
        limit = 1e-5 if precision == "fp32" else ROUNDED.get(precision, ANY) * exact.std()
        assert np.abs(answers - exact).max() <= limit

    @pytest.mark.parametrize(
        "block",
        [
            EmbeddingBlock(12, 16, 50, 40, 2),
            EmbeddingBlock(16, 16, 50, 40, 2),
            LayerBlock(20, TransformerLayer(2, 12, 33)),
            LayerBlock(20, TransformerLayer(2, 12, 33), first_only=True),
            HeadBlock(20, 3),
        ],
    )
    def test_a_stack_alone_answers_like_its_module(self, precision: str, dialect: str, block: object) -> None:
        stack = Stack(block, 3)
        module = random_module(stack, seed=1)
        rng = np.random.default_rng(0)
        ids = {"input_ids": rng.integers(0, 50, (2, 9)), "token_type_ids": rng.integers(0, 2, (2, 9))}
        hidden = {"hidden": rng.standard_normal((2, 9, 20)).astype(np.float32)}
        mask = additive_mask(torch.tensor([[1] * 9, [1] * 4 + [0] * 5])).numpy()
        inputs = {"EmbeddingBlock": ids, "LayerBlock": {**hidden, "mask": mask}, "HeadBlock": hidden}[
            type(block).__name__
        ]
        with torch.inference_mode():
            expected = module(*(torch.from_numpy(value) for value in inputs.values())).numpy()
        graph = stack_graph(stack, module_weights(module), Form(dialect, precision))
        (answer,) = run_graph(graph.SerializeToString(), [inputs])
        limit = 1e-5 if precision == "fp32" else ROUNDED.get(precision, ANY) * expected.std()
        np.testing.assert_allclose(answer, expected, atol=limit)


KERNELS = {
    ("portable", "fp32"): {"LayerNormalization": 5},
    ("portable", "int8"): {"Gelu": 2, "DynamicQuantizeMatMul": 7, "MatMulIntegerToFloat": 5},
    ("onnxruntime", "fp32"): {"Gelu": 2, "Attention": 2, "Gemm": 9, "MatMul": 4},
    ("onnxruntime", "int8"): {"Gelu": 2, "Attention": 2, "DynamicQuantizeMatMul": 7, "MatMulIntegerToFloat": 5},
}


@pytest.mark.parametrize(("dialect", "precision"), KERNELS)
@pytest.mark.parametrize("fixed", [None, 1])
def test_onnx_runtime_uses_its_fast_kernels(dialect: str, precision: str, fixed: int | None, tmp_path: object) -> None:
    spec = StudentSpec(32, 32, (TransformerLayer(2, 32, 64),) * 2, vocabulary_size=50, maximum_positions=20)
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = f"{tmp_path}/optimised.onnx"
    options.log_severity_level = 3
    form = Form(dialect, precision, batch_size=fixed, sequence_length=fixed and 16)
    data = graph_bytes(spec, module_weights(random_module(spec)), form)
    onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    found = [node.op_type for node in onnx.load(options.optimized_model_filepath).graph.node]
    for operator, count in KERNELS[dialect, precision].items():
        assert found.count(operator) == count, operator
    assert not {"Erf", "Identity", "MatMulInteger", "SkipLayerNormalization"} & set(found)


def test_int8_files_are_about_a_quarter_as_large() -> None:
    spec = StudentSpec(64, 64, (TransformerLayer(2, 64, 256),) * 2, vocabulary_size=5000, maximum_positions=16)
    weights = module_weights(lively(spec))
    sizes = [len(graph_bytes(spec, weights, Form(precision=precision))) for precision in ("fp32", "int8")]
    assert sizes[1] < 0.3 * sizes[0]


@given(st.integers(1, 8), st.integers(1, 30), st.floats(1e-3, 1e3))
def test_rounding_a_row_is_off_by_half_a_step_at_most(rows: int, width: int, size: float) -> None:
    values = (np.random.default_rng(rows).standard_normal((rows, width)) * size).astype(np.float32)
    values[0] = 0.0
    rounded, scales = quantize_rows(values)
    assert np.abs(rounded * scales[:, None] - values).max() <= scales.max() * 0.501
    assert not rounded[0].any()


def test_random_weights_are_cheap_lively_and_repeatable() -> None:
    shapes = {"word.weight": (3000, 384), "norm.weight": (384,), "again.weight": (3000, 384)}
    first, second, other = random_weights(shapes, 1), random_weights(shapes, 1), random_weights(shapes, 2)
    for name in shapes:
        np.testing.assert_array_equal(first[name], second[name])
        assert np.isfinite(first[name]).all() and np.abs(first[name]).min() > 1e-30
    assert not np.array_equal(first["word.weight"], other["word.weight"])
    assert not np.array_equal(first["word.weight"], first["again.weight"])
    assert len(np.unique(first["word.weight"], axis=0)) == 3000
    assert abs(first["norm.weight"].mean() - 1) < 0.05


def test_a_tensor_name_is_used_once() -> None:
    builder = GraphBuilder(17, 8)
    builder.node("Relu", ["x"], "y")
    with pytest.raises(ValueError, match="already"):
        builder.node("Relu", ["x"], "y")
    with pytest.raises(ValueError, match="already"):
        builder.weight("y", np.zeros(2, dtype=np.float32))


def test_a_text_longer_than_the_positions_fails_loudly(uneven_spec: StudentSpec) -> None:
    ids = np.zeros((1, 65), dtype=np.int64)
    batch = {"input_ids": ids, "attention_mask": ids + 1, "token_type_ids": ids}
    graph = student_graph(uneven_spec, module_weights(lively(uneven_spec))).SerializeToString()
    with pytest.raises(Exception, match="broadcast|BroadcastIterator|Attempting"):
        list(run_graph(graph, [batch]))


def test_a_text_of_padding_alone_gives_the_models_numbers(uneven_spec: StudentSpec) -> None:
    model = random_module(uneven_spec)
    ids = np.arange(6)[None, :]
    batch = {"input_ids": ids, "attention_mask": np.zeros_like(ids), "token_type_ids": np.zeros_like(ids)}
    (expected,) = run_model(model, [batch])
    (answer,) = run_graph(student_graph(uneven_spec, module_weights(model)).SerializeToString(), [batch])
    np.testing.assert_allclose(answer, expected, atol=1e-4)
