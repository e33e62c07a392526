"""Which files of a result folder are timed where, and in which precision."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from devices.workload import Precision, Workload
from export.form import Form
from export.graph import student_graph
from export.graph_file import SPEC_KEY, graph_inputs, read_graph_file
from export.items import Checkpoint
from export.weights import module_weights
from runs.errors import UserError
from runs.progress import Progress
from students.model import build_student
from students.spec import Head, uniform_spec
from tailorbird.measuring import _jobs, _moments, measure_files
from tailorbird.render import measured

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


def test_of_a_model_that_writes_on_the_first_and_the_next_token_are_timed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = uniform_spec(1, 16, 2, 32, head=Head("causal-lm"), vocabulary_size=64, maximum_positions=24)
    build_student(spec).save_pretrained(tmp_path / "writer")
    given = {"sequence_length": 20}

    def timed(student: Path, target: str = "onnxruntime", **more: int) -> dict[str, object]:
        return measure_files(student, target, given | more, 1, 0, Progress(quiet=True))

    found = timed(tmp_path / "writer")
    moments = [(one["sequence_length"], one["earlier_tokens"]) for one in found["measurements"]]  # type: ignore[attr-defined]
    assert moments == [(20, 0), (1, 20)]
    measured(found)
    shown = " ".join(capsys.readouterr().out.split())
    assert "the first after 20 tokens" in shown and "the next 1 after 20 tokens" in shown
    (asked,) = timed(tmp_path / "writer", earlier_tokens=3)["measurements"]  # type: ignore[misc]
    assert (asked["sequence_length"], asked["earlier_tokens"]) == (20, 3)
    with pytest.raises(UserError, match="--sequence-length is 20 after --earlier-tokens 5, but this model has 24"):
        timed(tmp_path / "writer", earlier_tokens=5)
    assert len(timed(tmp_path / "writer", "cpu")["measurements"]) == 1  # type: ignore[arg-type]
    with pytest.raises(UserError, match="this target runs checkpoints: use --target onnxruntime"):
        timed(tmp_path / "writer", "cpu", earlier_tokens=3)
    build_student(uniform_spec(1, 16, 2, 32, vocabulary_size=64, maximum_positions=24)).save_pretrained(
        tmp_path / "cls"
    )
    with pytest.raises(UserError, match="asks for tokens in a cache, and a student with the head 'classification'"):
        timed(tmp_path / "cls", earlier_tokens=3)


def test_files_of_a_model_that_writes_on_are_timed_by_their_cache(tmp_path: Path) -> None:
    spec = uniform_spec(1, 16, 2, 32, head=Head("causal-lm"), vocabulary_size=64, maximum_positions=24)
    graph = student_graph(
        spec, module_weights(build_student(spec)), Form("portable"), metadata={SPEC_KEY: json.dumps(spec.to_json())}
    )
    file = tmp_path / "student.onnx"
    file.write_bytes(graph.SerializeToString())
    found = measure_files(file, None, {"sequence_length": 24}, 1, 0, Progress(quiet=True))
    moments = [(one["sequence_length"], one["earlier_tokens"]) for one in found["measurements"]]
    assert moments == [(24, 0), (1, 23)], "as many earlier ones as leave room for one more"
    info = read_graph_file(file)
    for earlier in (0, 7):
        feed = graph_inputs(info, Workload(2, 3, earlier_tokens=earlier))
        assert feed["attention_mask"].shape == (2, 3 + earlier) and feed["attention_mask"].all()
        assert feed["input_ids"].shape == (2, 3) and feed["past.0.key"].shape == (2, 2, earlier, 8)
    both_ways = replace(spec, head=Head("classification", 2))
    graph = student_graph(both_ways, module_weights(build_student(both_ways)), Form("portable"))
    (tmp_path / "classifier.onnx").write_bytes(graph.SerializeToString())
    with pytest.raises(UserError, match=r"classifier.onnx keeps none: only causal"):
        graph_inputs(read_graph_file(tmp_path / "classifier.onnx"), Workload(earlier_tokens=2))


def test_of_a_searched_one_what_its_verdict_asks_for_comes_first(tmp_path: Path) -> None:
    spec = uniform_spec(1, 16, 2, 32, head=Head("causal-lm"), vocabulary_size=64, maximum_positions=24)
    build_student(spec).save_pretrained(tmp_path)
    asked, item = Workload(1, 1, earlier_tokens=16), Checkpoint(tmp_path)
    assert _moments(item, asked, is_graph=True, both=True) == [asked, Workload(1, 16)]
    assert _moments(item, asked, is_graph=True, both=False) == [asked]
