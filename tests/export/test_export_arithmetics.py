"""Every arithmetic multiplies and reads tables nearly as fp32 does, keeps files small and reaches the fast kernels."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from random_specs import random_spec

from export.arithmetic import ARITHMETICS, Ranges, Reach, choose
from export.arithmetics.calibrated import affine_scale
from export.arithmetics.evening import divisors_of
from export.arithmetics.rounding import even_block, halved, pack_halves, pack_pairs, quantize_blocks
from export.arithmetics.weights_only import fast_block
from export.builder import FLOAT, INT64, Array, GraphBuilder, Value
from export.calibration import calibrate
from export.form import Form
from export.graph import student_graph
from export.part import DIALECTS
from export.verify import random_batches, run_graph
from export.weights import module_weights, random_module
from runs.errors import UserError
from students.spec import Head, StudentSpec, TransformerLayer

WEIGHT_ERROR = {"fp32": 1e-6, "fp16": 5e-4, "int4": 0.12, "int4-weights": 0.12}
"""Precision → largest root mean square error of a stored weight, in standard deviations of all weights."""
BYTES = 0.012
"""The same of those that store 8 bits."""
RANGES = {"product": Reach(-4.0, 4.0)}
FORMS = [(dialect, precision) for dialect in DIALECTS for precision in ARITHMETICS]


def known_ranges(precision: str, ranges: Ranges) -> Ranges | None:
    return ranges if ARITHMETICS[precision].calibrated else None


def run(builder: GraphBuilder, given: Value, output: str, value: Array) -> Array:
    builder.node("Identity", [output], "out")
    model = builder.model([given], [Value("out", FLOAT, ("first", "second", "third"))])
    onnx.checker.check_model(model, full_check=True)
    return next(run_graph(model.SerializeToString(), [{given.name: value}]))


def start(dialect: str) -> GraphBuilder:
    return GraphBuilder(DIALECTS[dialect].opset, DIALECTS[dialect].ir_version)


def drawn(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize(("dialect", "precision"), FORMS)
class TestEveryArithmetic:
    @pytest.mark.parametrize(("outputs", "width"), [(24, 64), (7, 37), (1, 1), (40, 312)])
    def test_a_product_is_near_the_exact_one(self, dialect: str, precision: str, outputs: int, width: int) -> None:
        weight, source = drawn(outputs, width), drawn(2, 5, width, seed=1).clip(-4, 4)
        arithmetic = choose(precision, dialect, ranges=known_ranges(precision, RANGES))
        builder = start(dialect)
        made = arithmetic.product(builder, "x", weight, "product")
        answer = run(builder, Value("x", FLOAT, ("b", "s", width)), made, source)
        # Errors of weights and of activations add up as their squares do; 8 bits of activations are always allowed.
        allowed = np.hypot(WEIGHT_ERROR.get(precision, BYTES), 0 if precision in ("fp32", "fp16") else 0.012)
        error = np.sqrt(np.square(answer - source @ weight.T).mean())
        assert error <= allowed * np.sqrt(width) * 1.5

    def test_a_small_product_is_computed_in_fp32(self, dialect: str, precision: str) -> None:
        weight = np.linspace(-1, 1, 60, dtype=np.float32).reshape(4, 15)
        source = drawn(2, 3, 15)
        # One number far away would spoil the others of a text if activations were rounded.
        source[0, 0, 0] = 1e6
        builder = start(dialect)
        made = choose(precision, dialect, ranges=known_ranges(precision, {})).small_product(builder, "x", weight, "p")
        answer = run(builder, Value("x", FLOAT, ("b", "s", 15)), made, source)
        np.testing.assert_allclose(answer[1], (source @ weight.T)[1], atol=0.03)

    @pytest.mark.parametrize("width", [64, 37, 2, 1])
    def test_rows_and_whole_tables_are_near(self, dialect: str, precision: str, width: int) -> None:
        table, ids = drawn(50, width), np.array([[0, 49, 3], [7, 7, 1]])
        arithmetic = choose(precision, dialect, ranges=known_ranges(precision, {}))
        allowed = WEIGHT_ERROR.get(precision, BYTES) * 1.2
        builder = start(dialect)
        made = arithmetic.rows(builder, "ids", table, "table")
        answer = run(builder, Value("ids", INT64, ("b", "s")), made, ids)
        assert answer.shape == (2, 3, width)
        assert np.sqrt(np.square(answer - table[ids]).mean()) <= allowed
        builder = start(dialect)
        read = builder.node("Gather", [arithmetic.whole(builder, table, "table"), "ids"], "read")
        whole = run(builder, Value("ids", INT64, ("b", "s")), read, ids)
        np.testing.assert_allclose(whole, answer, atol=1e-6)

    def test_a_table_is_not_widened_when_it_is_loaded(self, dialect: str, precision: str, tmp_path: Path) -> None:
        builder = start(dialect)
        table = drawn(512, 64)
        made = choose(precision, dialect, ranges=known_ranges(precision, {})).rows(builder, "ids", table, "table")
        builder.node("Identity", [made], "out")
        model = builder.model([Value("ids", INT64, ("b", "s"))], [Value("out", FLOAT, ("b", "s", 64))])
        kept = sum(
            np.prod(tensor.dims) for tensor in optimised(model, tmp_path).graph.initializer if tensor.data_type == FLOAT
        )
        assert kept >= table.size if precision == "fp32" else kept <= table.size / 32


def optimised(model: onnx.ModelProto, folder: Path) -> onnx.ModelProto:
    """The graph as ONNX Runtime runs it."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(folder / "optimised.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return onnx.load(options.optimized_model_filepath)


SPEC = StudentSpec(32, 32, (TransformerLayer(2, 32, 64),) * 2, 50, 20, head=Head("classification", 3))
KERNELS: dict[tuple[str, str], Mapping[str, int]] = {
    ("portable", "fp16"): {"MatMulNBits": 0, "MatMulIntegerToFloat": 0},
    ("portable", "int8-weights"): {"MatMulNBits": 0, "MatMulIntegerToFloat": 0},
    ("portable", "int4-weights"): {"MatMulNBits": 0, "MatMulIntegerToFloat": 0},
    ("onnxruntime", "int8-weights"): {"MatMulNBits": 12, "MatMulIntegerToFloat": 0},
    ("onnxruntime", "int4-weights"): {"MatMulNBits": 12, "MatMulIntegerToFloat": 0},
    ("portable", "int4"): {"DynamicQuantizeMatMul": 7, "MatMulIntegerToFloat": 5},
    ("onnxruntime", "int4"): {"DynamicQuantizeMatMul": 7, "MatMulIntegerToFloat": 5},
    ("portable", "int8-static"): {"MatMulIntegerToFloat": 12},
    ("onnxruntime", "int8-static"): {"MatMulIntegerToFloat": 12},
}


@pytest.mark.parametrize(("dialect", "precision"), KERNELS)
def test_constants_are_folded_and_products_reach_their_kernels(dialect: str, precision: str, tmp_path: Path) -> None:
    weights = module_weights(random_module(SPEC))
    ranges = known_ranges(precision, calibrate(SPEC, weights, random_batches(SPEC)))
    graph = optimised(student_graph(SPEC, weights, Form(dialect, precision, "fp32"), ranges=ranges), tmp_path).graph
    found = [node.op_type for node in graph.node]
    for operator, count in KERNELS[dialect, precision].items():
        assert found.count(operator) == count, operator
    constants = {tensor.name for tensor in graph.initializer}
    assert not [node.name for node in graph.node if node.input and constants.issuperset(node.input)]
    assert not {"DequantizeLinear", "MatMulInteger"} & set(found)


SIZES = {"fp16": 0.54, "int8": 0.29, "int8-static": 0.29, "int8-weights": 0.29, "int4": 0.18, "int4-weights": 0.18}


@pytest.mark.parametrize("precision", ARITHMETICS.names())
def test_files_are_as_small_as_their_bits(precision: str) -> None:
    spec = StudentSpec(96, 96, (TransformerLayer(4, 96, 384),) * 2, 6000, 128, head=Head("classification", 3))
    weights = module_weights(random_module(spec))
    ranges = known_ranges(precision, calibrate(spec, weights, random_batches(spec)[:1]))
    exact = len(student_graph(spec, weights).SerializeToString())
    size = len(student_graph(spec, weights, Form(precision=precision), ranges=ranges).SerializeToString())
    assert size <= SIZES.get(precision, 1.0) * exact


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("dialect", "precision"), FORMS)
def test_any_student_runs_in_any_precision(dialect: str, precision: str, seed: int) -> None:
    spec = random_spec(np.random.default_rng(seed))
    weights, batches = module_weights(random_module(spec, seed)), random_batches(spec, seed)
    ranges = known_ranges(precision, calibrate(spec, weights, batches))
    graph = student_graph(spec, weights, Form(dialect, precision), ranges=ranges)
    onnx.checker.check_model(graph, full_check=True)
    exact = list(run_graph(student_graph(spec, weights).SerializeToString(), batches))
    answers = list(run_graph(graph.SerializeToString(), batches))
    spread = np.concatenate([answer.ravel() for answer in exact]).std()
    for one, other in zip(exact, answers, strict=True):
        assert np.sqrt(np.square(one - other).mean()) <= (1e-5 if precision == "fp32" else 0.5 * spread + 1e-3)


def test_embeddings_have_a_precision_of_their_own() -> None:
    weights = module_weights(random_module(SPEC))
    graph = student_graph(SPEC, weights, Form(precision="fp32", embeddings="int4")).graph
    kinds = {tensor.name: tensor.data_type for tensor in graph.initializer}
    assert kinds["embeddings.word.weight"] == onnx.TensorProto.UINT8
    assert kinds["embeddings.position.weight"] == onnx.TensorProto.UINT8
    assert kinds["layers.0.query.weight"] == FLOAT


def test_numbers_beyond_a_calibrated_range_are_cut_off_not_wrapped_around() -> None:
    weight, source = np.ones((3, 4), dtype=np.float32), np.full((1, 1, 4), 100.0, dtype=np.float32)
    builder = start("portable")
    made = choose("int8-static", ranges={"product": Reach(-1.0, 1.0)}).product(builder, "x", weight, "product")
    answer = run(builder, Value("x", FLOAT, ("b", "s", 4)), made, source)
    np.testing.assert_allclose(answer, 4.0, rtol=0.02)


@pytest.mark.parametrize("precision", [name for name in ARITHMETICS if "int8" in name and "weights" not in name])
@pytest.mark.parametrize("dialect", DIALECTS.names())
def test_a_far_channel_does_not_spoil_the_others(precision: str, dialect: str) -> None:
    weight, source = drawn(40, 64), drawn(4, 9, 64, seed=1)
    source[:, :, 7] *= 30.0
    divisors = divisors_of(np.abs(source).max(axis=(0, 1)))
    assert divisors is not None and [place for place, number in enumerate(divisors) if number > 1.5] == [7]
    even = source / np.array(divisors, dtype=np.float32)
    known = Reach(float(even.min()), float(even.max()), divisors)
    plain = Reach(float(source.min()), float(source.max()))
    errors = []
    for reach in (known, plain):
        builder = start(dialect)
        made = choose(precision, dialect, ranges={"product": reach}).product(builder, "x", weight, "product")
        answer = run(builder, Value("x", FLOAT, ("b", "s", 64)), made, source)
        errors.append(np.sqrt(np.square(answer - source @ weight.T).mean()))
    assert errors[0] < 0.6 * errors[1]


def test_usual_channels_are_left_alone() -> None:
    assert divisors_of(np.linspace(1.0, 2.0, 384)) is None
    assert divisors_of(np.zeros(384)) is None
    assert divisors_of(np.array([5.0])) is None


def test_what_is_missing_is_said() -> None:
    with pytest.raises(UserError, match="unknown precision 'int7'"):
        choose("int7")
    with pytest.raises(UserError, match="give texts to calibrate"):
        choose("int8-static")
    weights = module_weights(random_module(SPEC))
    with pytest.raises(UserError, match=r"nothing of layers\.0\.query: calibrate this very model"):
        student_graph(SPEC, weights, Form(precision="int8-static"), ranges={"other": Reach(0.0, 1.0)})


@given(st.integers(1, 6), st.integers(1, 90), st.integers(2, 40), st.sampled_from([4, 8]), st.floats(1e-3, 1e3))
def test_blocks_are_off_by_little(rows: int, width: int, block: int, bits: int, size: float) -> None:
    values = drawn(rows, width, seed=width) * np.float32(size)
    values[0] = 0.0
    blocks = quantize_blocks(values, bits, block)
    near = blocks.values(width)
    assert near.shape == values.shape and not near[0].any()
    assert blocks.levels.max() < 1 << bits
    # The largest number is the lowest level or, where the range was cut, at most a fifth off.
    assert np.abs(near - values).max() <= 0.21 * np.abs(values).max()
    assert np.array_equal(halved(blocks.scales).astype(np.float32), blocks.scales)


@given(st.integers(1, 2000), st.integers(2, 256))
def test_even_blocks_waste_little(width: int, most: int) -> None:
    size = even_block(width, most)
    count = -(-width // size)
    assert size % 2 == 0 and size <= most + most % 2
    assert count * size - width < 2 * -(-width // most) + 2


def test_pairs_and_halves_hold_every_level() -> None:
    levels = np.arange(16, dtype=np.uint8).reshape(4, 4)
    halves, pairs = pack_halves(levels), pack_pairs(levels)
    assert np.array_equal(np.concatenate([halves & 15, halves >> 4]), levels)
    assert np.array_equal(np.stack([pairs & 15, pairs >> 4], axis=-1).reshape(4, 4), levels)


def test_half_precision_has_no_infinities() -> None:
    assert np.isfinite(halved(np.array([1e9, -1e9, 1.0], dtype=np.float32))).all()


@given(st.floats(-100, 100), st.floats(-100, 100))
def test_zero_is_exact_in_any_range(one: float, other: float) -> None:
    scale, zero = affine_scale(min(one, other), max(one, other))
    assert scale > 0 and 0 <= zero <= 255
    for end in (one, other):
        level = np.clip(np.rint(end / scale) + zero, 0, 255)
        assert abs((level - zero) * scale - end) <= scale * 1.01


def test_blocks_of_the_fast_product_fit_the_width() -> None:
    assert [fast_block(8, width) for width in (384, 1536, 312)] == [128, 256, 64]
    assert fast_block(4, 1536) == 32
