"""ONNX files of others are read with care and fed by name."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from devices.workload import Workload
from export.graph_file import graph_inputs, read_graph_file
from export.student import export_student
from export.verify import run_graph
from runs.errors import UserError
from students.spec import StudentSpec

IDS = TensorProto.INT64


@pytest.fixture
def exported(student_folder: Path, tmp_path: Path) -> Path:
    export_student(student_folder, tmp_path / "files")
    return tmp_path / "files" / "student.onnx"


def foreign(path: Path, inputs: list[tuple[str, int, list[object]]], rows: int = 11) -> Path:
    """A file not of our making: the sum of table rows, and of everything else it takes."""
    table = numpy_helper.from_array(np.ones((rows, 4), dtype=np.float32), "table")
    nodes = [
        helper.make_node("Cast", [inputs[0][0]], ["narrow"], to=TensorProto.INT32),
        helper.make_node("Gather", ["table", "narrow"], ["found"]),
    ]
    values = [helper.make_tensor_value_info(name, kind, shape) for name, kind, shape in inputs]
    output = helper.make_tensor_value_info("found", TensorProto.FLOAT, [*inputs[0][2], 4])
    graph = helper.make_graph(nodes, "foreign", values, [output], [table])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


def test_our_files_say_what_they_are(exported: Path, uneven_spec: StudentSpec) -> None:
    info = read_graph_file(exported)
    assert info.spec == uneven_spec
    assert info.outputs == ("logits",)
    assert info.metadata["labels"] == '["bad", "fair", "good"]'
    assert [given.name for given in info.inputs] == ["input_ids", "attention_mask", "token_type_ids"]


@pytest.mark.parametrize("file", ["student.onnx", "student.int8.onnx"])
def test_inputs_follow_the_workload_and_the_vocabulary(file: str, exported: Path, uneven_spec: StudentSpec) -> None:
    info = read_graph_file(exported.with_name(file))
    inputs = graph_inputs(info, Workload(4, 50), seed=1)
    assert {value.shape for value in inputs.values()} == {(4, 50)}
    assert uneven_spec.vocabulary_size // 2 < inputs["input_ids"].max() < uneven_spec.vocabulary_size
    assert inputs["attention_mask"].all() and not inputs["token_type_ids"].any()


def test_a_foreign_file_is_fed_by_what_its_inputs_are_called(tmp_path: Path) -> None:
    axes: list[object] = ["b", None]
    given = [("ids", IDS, axes), ("my_mask", TensorProto.INT32, axes), ("position_ids", IDS, axes)]
    path = foreign(tmp_path / "foreign.onnx", given)
    info = read_graph_file(path)
    assert info.spec is None
    inputs = graph_inputs(info, Workload(2, 30))
    assert inputs["ids"].max() == 10
    assert inputs["my_mask"].dtype == np.int32
    assert list(inputs["position_ids"][1]) == list(range(30))
    (answer,) = run_graph(path, [inputs])
    assert answer.shape == (2, 30, 4)


def test_fixed_axes_must_fit_the_workload(tmp_path: Path) -> None:
    info = read_graph_file(foreign(tmp_path / "fixed.onnx", [("ids", IDS, [1, 64])]))
    assert graph_inputs(info, Workload(1, 64))["ids"].shape == (1, 64)
    with pytest.raises(UserError, match="--sequence-length 64"):
        graph_inputs(info, Workload(1, 128))
    with pytest.raises(UserError, match="--batch-size 1"):
        graph_inputs(info, Workload(2, 64))


def test_inputs_of_other_kinds_are_refused(tmp_path: Path) -> None:
    axes: list[object] = ["b", "s"]
    floats = foreign(tmp_path / "floats.onnx", [("ids", IDS, axes), ("pixels", TensorProto.FLOAT, axes)])
    with pytest.raises(UserError, match="pixels"):
        graph_inputs(read_graph_file(floats), Workload())
    deep = foreign(tmp_path / "deep.onnx", [("ids", IDS, ["b", "s", 3])])
    with pytest.raises(UserError, match="3 axes"):
        graph_inputs(read_graph_file(deep), Workload())


@pytest.mark.parametrize("content", [b"", b"no model at all", b"\x00" * 100, b'{"a": 1}'])
def test_what_is_not_onnx_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "file.onnx"
    path.write_bytes(content)
    with pytest.raises(UserError, match="not an ONNX file"):
        read_graph_file(path)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_a_file_cut_short_is_refused(share: float, exported: Path) -> None:
    data = exported.read_bytes()
    exported.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(UserError, match="cut short|not a valid"):
        read_graph_file(exported)


def with_external_data(path: Path, location: str, **place: int) -> Path:
    model = onnx.load(foreign(path, [("ids", IDS, ["b", "s"])]))
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **place}.items():
        tensor.external_data.add(key=key, value=str(value))
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize("location", ["../secret.bin", "/etc/hostname", "inner/../../secret.bin"])
def test_weights_outside_the_folder_are_not_read(location: str, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "secret.bin").write_bytes(b"\x00" * 176)
    with pytest.raises(UserError, match="outside its own folder"):
        read_graph_file(with_external_data(folder / "external.onnx", location))


def test_weights_beside_the_file_are_read_if_they_are_whole(tmp_path: Path) -> None:
    path = with_external_data(tmp_path / "external.onnx", "weights.bin", offset=0, length=176)
    with pytest.raises(UserError, match="not beside it"):
        read_graph_file(path)
    (tmp_path / "weights.bin").write_bytes(b"\x00" * 100)
    with pytest.raises(UserError, match="cut short"):
        read_graph_file(path)
    (tmp_path / "weights.bin").write_bytes(b"\x00" * 176)
    assert read_graph_file(path).inputs[0].rows == 11


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no\.onnx"):
        read_graph_file(tmp_path / "no.onnx")
