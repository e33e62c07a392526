"""How much of a graph phones' accelerators take: shares that add up, and the operators that decide them."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from export.form import Form
from export.graph import student_graph
from export.runtimes.mobile import PROVIDERS, Usability, mobile_usability
from export.weights import module_weights, random_module
from runs.errors import UserError
from students.spec import StudentSpec


def found(spec: StudentSpec, path: Path, form: Form) -> dict[str, Usability]:
    graph = student_graph(spec, module_weights(random_module(spec)), form)
    path.write_bytes(graph.SerializeToString())
    return {one.provider: one for one in mobile_usability(path)}


@pytest.mark.parametrize("form", [Form(), Form(batch_size=1, sequence_length=16), Form(dialect="onnxruntime")])
def test_shares_add_up_for_every_provider(uneven_spec: StudentSpec, tmp_path: Path, form: Form) -> None:
    usable = found(uneven_spec, tmp_path / "student.onnx", form)
    assert list(usable) == PROVIDERS.names()
    for one in usable.values():
        assert one.taken + sum(one.falling_back.values()) == one.operators
        assert 0.0 < one.fallback_share < 1.0
        assert one.to_json()["fallback_share"] == one.fallback_share


def test_the_operators_that_decide_are_named(uneven_spec: StudentSpec, tmp_path: Path) -> None:
    portable = found(uneven_spec, tmp_path / "student.onnx", Form())
    assert portable["nnapi"].falling_back["LayerNormalization"] == 7
    assert "LayerNormalization" not in portable["coreml"].falling_back
    fused = found(uneven_spec, tmp_path / "student.ort.onnx", Form(dialect="onnxruntime"))
    for one in fused.values():
        assert one.falling_back["Attention"] == 3
    assert fused["nnapi"].fallback_share > portable["nnapi"].fallback_share


def product(path: Path, shape: list[int], constant: bool) -> Path:
    weight = np.ones((shape[-1], 3), np.float32)
    inputs = [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape)]
    if not constant:
        inputs.append(onnx.helper.make_tensor_value_info("w", onnx.TensorProto.FLOAT, list(weight.shape)))
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("MatMul", ["x", "w"], ["y"])],
        "product",
        inputs,
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [*shape[:-1], 3])],
        [onnx.numpy_helper.from_array(weight, "w")] if constant else [],
    )
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.mark.parametrize(
    ("shape", "constant", "share"),
    [([2, 4], True, 0.0), ([1, 2, 4], True, 0.0), ([1, 1, 2, 4], True, 1.0), ([2, 4], False, 1.0)],
)
def test_xnnpack_takes_products_by_constants(tmp_path: Path, shape: list[int], constant: bool, share: float) -> None:
    (xnnpack,) = (
        one for one in mobile_usability(product(tmp_path / "p.onnx", shape, constant)) if one.provider == "xnnpack"
    )
    assert xnnpack.fallback_share == share


def test_what_is_no_graph_is_a_user_error(tmp_path: Path) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"not a graph")
    with pytest.raises(UserError, match="is not an ONNX file"):
        mobile_usability(broken)
