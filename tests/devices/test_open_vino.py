"""What sets the target `openvino` apart: fixed shapes, pinned precision, and a clear word where it is not installed."""

from pathlib import Path

import numpy as np
import onnx
import pytest

import devices.open_vino as open_vino
import devices.targets  # noqa: F401  (fills the registry)
from devices.open_vino import OpenVinoSession, plain_reason
from devices.target import OnnxArtifact, open_target
from devices.workload import Workload
from runs.errors import UserError

WORKLOAD = Workload(2, 4)


def artifact(operator: str = "Relu", domain: str = "") -> OnnxArtifact:
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node(operator, ["x"], ["y"], domain=domain)],
        "one",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["batch", "sequence"])],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["batch", "sequence"])],
    )
    imports = [onnx.helper.make_opsetid("", 17), onnx.helper.make_opsetid("elsewhere", 1)]
    model = onnx.helper.make_model(graph, opset_imports=imports, ir_version=8)
    return OnnxArtifact("thing", model.SerializeToString(), {"x": np.array([[-1.0, 2.0]], np.float32)})


def test_without_openvino_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(open_vino, "import_module", absent)
    with pytest.raises(UserError, match=r"OpenVINO is not installed: pip install 'tailorbird\[openvino\]'"):
        open_target("openvino")


def test_the_telling_line_of_a_message_is_kept() -> None:
    assert (
        plain_reason(RuntimeError("Exception from src/a.cpp:1:\n\nCheck 'x' failed\nno such file\nmore"))
        == "no such file"
    )
    assert plain_reason(RuntimeError("")) == "RuntimeError"


class TestWhereInstalled:
    @pytest.fixture(autouse=True)
    def installed(self) -> None:
        pytest.importorskip("openvino")

    def test_shapes_are_those_of_the_inputs_and_precision_is_fp32(self) -> None:
        library = open_vino.load_library()
        given = artifact()
        core = library.Core()
        compiled = core.compile_model(core.read_model(given.model), "CPU", open_vino.SETTINGS)
        assert compiled.get_property("INFERENCE_PRECISION_HINT").to_string() == "f32"
        assert open_target("openvino").runtime()["precision"] == "f32"
        session = OpenVinoSession(given, WORKLOAD)
        assert tuple(session._request.input_tensors[0].shape) == (1, 2)

    def test_every_run_reads_the_arrays_anew_and_answers_with_its_own(self) -> None:
        given = artifact()
        session = OpenVinoSession(given, WORKLOAD)
        first = session.run()[0]
        given.inputs["x"][...] = [[3.0, -4.0]]
        second = session.run()[0]
        np.testing.assert_array_equal(first, [[0.0, 2.0]])
        np.testing.assert_array_equal(second, [[3.0, 0.0]])

    @pytest.mark.parametrize("broken", [b"not a graph", b""])
    def test_a_broken_graph_is_one_sentence(self, broken: bytes) -> None:
        with pytest.raises(UserError, match="OpenVINO cannot load thing: ") as error:
            open_target("openvino").open(OnnxArtifact("thing", broken, {}), WORKLOAD)
        assert "\n" not in str(error.value) and "Exception from" not in str(error.value)

    def test_a_missing_file_and_an_unknown_operator_are_one_sentence(self, tmp_path: Path) -> None:
        for strange in (OnnxArtifact("thing", tmp_path / "none.onnx", {}), artifact("Unheard", "elsewhere")):
            with pytest.raises(UserError, match="OpenVINO cannot load thing: ") as error:
                open_target("openvino").open(strange, WORKLOAD)
            assert "\n" not in str(error.value)

    def test_strange_inputs_are_a_user_error(self) -> None:
        given = OnnxArtifact("thing", artifact().model, {"input_ids": np.ones((1, 2))})
        with pytest.raises(UserError, match="takes the inputs x, not input_ids"):
            OpenVinoSession(given, WORKLOAD)
