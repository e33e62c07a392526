"""Which files of a result folder are timed where, and in which precision."""

from pathlib import Path

import pytest

from devices.workload import Precision, Workload
from export.items import Checkpoint
from tailorbird.measuring import _jobs

PORTABLE = ("student.onnx", "student.int8.onnx")
ALL = (*PORTABLE, "student.ort.onnx", "student.ort.int8.onnx")


@pytest.fixture
def result(tmp_path: Path) -> Path:
    for name in (*ALL, "student.int8-static.onnx"):
        (tmp_path / name).touch()
    return tmp_path


@pytest.mark.parametrize(
    ("target", "precision", "first", "others"),
    [
        ("onnxruntime", "int8", ("student.ort.int8.onnx", "onnxruntime", "int8"), set(ALL) - {"student.ort.int8.onnx"}),
        ("openvino", "int8", ("student.int8-static.onnx", "openvino", "int8"), set(PORTABLE)),
        ("openvino", "bf16", ("student.onnx", "openvino", "bf16"), {"student.int8.onnx"}),
        ("cpu", "bf16", ("student", "cpu", "bf16"), set(ALL)),
    ],
)
def test_the_targets_own_file_comes_first_in_the_workloads_precision(
    result: Path, target: str, precision: Precision, first: tuple[str, str, str], others: set[str]
) -> None:
    if target == "openvino":
        pytest.importorskip("openvino")
    found = [
        (name, where, workload.precision)
        for name, _, where, workload in _jobs(result, target, Workload(precision=precision), is_result=True)
    ]
    assert found[0] == first
    assert {name for name, _, _ in found[1:]} == others and len(found) == 1 + len(others)
    assert {("int8" in name, chosen) for name, _, chosen in found[1:]} <= {(True, "int8"), (False, "fp32")}


def test_of_a_language_model_the_encoder_is_timed(result: Path) -> None:
    (result / "student").mkdir()
    assert next(_jobs(result, "cpu", Workload(), is_result=True))[1] == Checkpoint(result / "student")
    (result / "encoder").mkdir()
    name, item, *_ = next(_jobs(result, "cpu", Workload(), is_result=True))
    assert (name, item) == ("encoder", Checkpoint(result / "encoder"))
