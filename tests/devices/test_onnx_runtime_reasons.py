"""Why ONNX Runtime cannot load a file, in a sentence."""

import onnx
import pytest

import devices.targets  # noqa: F401  (fills the registry)
from devices.target import OnnxArtifact, open_target
from devices.workload import Workload
from runs.errors import UserError


def test_an_opset_from_the_future_is_named_as_such() -> None:
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Relu", ["x"], ["y"])],
        "one",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 2])],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 2])],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 99)], ir_version=8)
    with pytest.raises(UserError, match=r"cannot load thing: it needs a later opset than \d+, the newest") as error:
        open_target("onnxruntime").open(OnnxArtifact("thing", model.SerializeToString(), {}), Workload(1, 2))
    assert "\n" not in str(error.value) and "onnxruntime_src" not in str(error.value)
