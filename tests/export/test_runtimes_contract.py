"""The contract of every runtime, run over all that are registered, and what stands between a runtime and a report.

A runtime in an environment of its own is tested too where TAILORBIRD_PYTHONS says `ncnn=/path/to/python litert=…`.
"""

import json
import os
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from devices.stopwatch import Policy
from devices.target import Session
from devices.workload import Workload
from export.form import Form
from export.graph import student_graph
from export.graph_file import SPEC_KEY
from export.runtimes.contract import Opened, Runtime
from export.runtimes.overheard import overheard
from export.runtimes.padding import pad_to_workload, random_batches_within
from export.runtimes.processes import Interpreters, ask
from export.runtimes.proof import verify_runtimes
from export.runtimes.registered import RUNTIMES
from export.runtimes.sources import SOURCES, Given
from export.verify import Batch, run_model
from export.weights import module_weights
from runs.errors import UserError
from students.bert import load_model
from students.model import build_student
from students.spec import ConvolutionLayer, Head, StudentSpec, TransformerLayer

PAIRS = [pair.partition("=") for pair in os.environ.get("TAILORBIRD_PYTHONS", "").split()]
OTHERS = Interpreters({name: Path(python) for name, _, python in PAIRS})
QUICK = Policy(rounds=2, warmup_runs=1, sample_ms=0.0)
WORKLOAD = Workload(1, 12, 1)


@pytest.fixture
def graph_file(student_folder: Path, tmp_path: Path) -> Path:
    return write_graph(student_folder, tmp_path / "student.onnx", Form())


def write_graph(checkpoint: Path, path: Path, form: Form) -> Path:
    model = load_model(checkpoint)
    spec = model.config.spec_object
    graph = student_graph(spec, module_weights(model), form, {SPEC_KEY: json.dumps(spec.to_json())})
    path.write_bytes(graph.SerializeToString())
    return path


def short_batches(checkpoint: Path) -> list[Batch]:
    return random_batches_within(load_model(checkpoint).config.spec_object, WORKLOAD)


@pytest.fixture(params=RUNTIMES.names())
def runtime(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if name not in OTHERS.others:
        try:
            RUNTIMES[name].check()
        except UserError as problem:
            pytest.skip(str(problem))
    return name


class TestEveryRuntime:
    def test_answers_as_the_checkpoint_does(
        self, runtime: str, student_folder: Path, graph_file: Path, tmp_path: Path
    ) -> None:
        output = tmp_path / "kept"
        (report,) = verify_runtimes(
            student_folder,
            graph_file,
            [runtime],
            short_batches(student_folder),
            WORKLOAD,
            output=output,
            processes=1,
            policy=QUICK,
            interpreters=OTHERS,
        )
        assert report.runtime == runtime and report.version[0].isdigit()
        assert report.agreement == 1.0
        assert report.max_abs_error <= 1e-4
        assert 0.0 < report.latency_ms < 1000.0
        assert 10e6 < report.idle_memory_bytes < report.peak_memory_bytes < 2e9
        kept = sorted(path.name for path in output.iterdir()) if output.exists() else []
        assert kept == (sorted(report.files) if RUNTIMES[runtime].suffixes else [])
        assert report.size_bytes > 10_000
        json.dumps(report.to_json(), allow_nan=False)

    def test_its_version_is_told_by_a_process_without_it(self, runtime: str) -> None:
        told = ask(runtime, "probe", OTHERS)
        # PyTorch alone would be four times as much.
        assert told["peak_memory_bytes"] < 80e6

    def test_names_itself(self, runtime: str) -> None:
        entry = RUNTIMES[runtime]
        assert entry.name == runtime
        assert entry.source in SOURCES


def test_batches_of_two_are_answered_text_by_text(student_folder: Path, graph_file: Path) -> None:
    batches = short_batches(student_folder)
    stacked, texts = pad_to_workload(batches, Workload(2, 12))
    # Nine texts make five batches of two.
    assert texts == 9 and stacked["input_ids"].shape == (5, 2, 12)
    assert (stacked["attention_mask"][0, 0] == [1] * 8 + [0] * 4).all()
    np.testing.assert_array_equal(stacked["input_ids"][4, 0], stacked["input_ids"][4, 1])
    (report,) = verify_runtimes(
        student_folder, graph_file, ["onnxruntime"], None, Workload(2, 12), processes=1, policy=QUICK
    )
    assert report.agreement == 1.0 and report.max_abs_error <= 1e-5


def test_a_wrong_file_is_seen(student_folder: Path, graph_file: Path, tmp_path: Path) -> None:
    model = onnx.load(graph_file)
    bias = next(tensor for tensor in model.graph.initializer if tensor.name == "head.classifier.bias")
    bias.CopyFrom(onnx.numpy_helper.from_array(np.array([9.0, 0.0, 0.0], np.float32), bias.name))
    wrong = tmp_path / "wrong.onnx"
    onnx.save(model, wrong)
    (report,) = verify_runtimes(
        student_folder, wrong, ["onnxruntime"], short_batches(student_folder), WORKLOAD, processes=1, policy=QUICK
    )
    assert report.max_abs_error > 5.0


@pytest.mark.parametrize("head", [Head("none", 2), Head("tokens", 4), Head("spans", 2)])
def test_answers_for_every_token_are_compared_where_there_is_text(tmp_path: Path, head: Head) -> None:
    layers = (TransformerLayer(heads=2, qkv_width=16, ffn_width=24),)
    spec = StudentSpec(16, 16, layers, vocabulary_size=50, maximum_positions=16, head=head)
    checkpoint = tmp_path / "student"
    build_student(spec).save_pretrained(checkpoint)
    file = write_graph(checkpoint, tmp_path / "student.onnx", Form())
    (report,) = verify_runtimes(
        checkpoint, file, ["onnxruntime"], short_batches(checkpoint), Workload(2, 12), processes=1, policy=QUICK
    )
    assert report.agreement == 1.0 and report.max_abs_error <= 1e-5


def test_ncnn_is_not_given_a_mask_that_layers_compute_with(tmp_path: Path) -> None:
    layers = (ConvolutionLayer(kernel=3, ffn_width=24),)
    spec = StudentSpec(16, 16, layers, vocabulary_size=50, maximum_positions=16)
    checkpoint = tmp_path / "student"
    build_student(spec).save_pretrained(checkpoint)
    given = Given(checkpoint, load_model(checkpoint), tmp_path / "student.onnx", WORKLOAD)
    with pytest.raises(UserError, match="ncnn cannot run this student: some of its layers use the mask"):
        SOURCES["one-text-graph"](given, tmp_path)


class Absent(Runtime):
    name = "absent"
    extra = "absent"
    modules = ("json", "no_such_module_at_all")
    distribution = "numpy"

    def open(self, opened: Opened) -> Session:
        raise AssertionError(opened)


def test_a_runtime_that_is_not_installed_is_named_with_its_extra() -> None:
    with pytest.raises(UserError, match=r"'absent' is not installed.*pip install 'tailorbird\[absent\]'"):
        Absent().check()


def test_an_unknown_runtime_is_named_with_the_known_ones(student_folder: Path, graph_file: Path) -> None:
    with pytest.raises(UserError, match="unknown runtime 'onnxruntim': use one of onnxruntime"):
        verify_runtimes(student_folder, graph_file, ["onnxruntim"], short_batches(student_folder), WORKLOAD)


def test_texts_that_do_not_fit_and_no_texts_are_user_errors(student_folder: Path) -> None:
    with pytest.raises(UserError, match="12 tokens do not fit --sequence-length 8"):
        pad_to_workload(short_batches(student_folder), Workload(1, 8))
    with pytest.raises(UserError, match="no texts"):
        pad_to_workload([], WORKLOAD)


def test_what_a_runtime_lacks_is_one_sentence_or_handed_to_the_caller(student_folder: Path, tmp_path: Path) -> None:
    try:
        RUNTIMES["mnn"].check()
    except UserError as problem:
        pytest.skip(str(problem))
    fused = write_graph(student_folder, tmp_path / "student.ort.onnx", Form(dialect="onnxruntime"))
    batches = short_batches(student_folder)
    with pytest.raises(UserError, match="MNN cannot convert .*student.ort.onnx: it lacks ONNX::Attention") as error:
        verify_runtimes(student_folder, fused, ["mnn"], batches, WORKLOAD)
    assert "\n" not in str(error.value)
    refused: dict[str, UserError] = {}
    reports = verify_runtimes(
        student_folder,
        fused,
        ["mnn", "onnxruntime"],
        batches,
        WORKLOAD,
        processes=1,
        policy=QUICK,
        refused=refused.__setitem__,
    )
    assert [report.runtime for report in reports] == ["onnxruntime"] and list(refused) == ["mnn"]


@pytest.mark.skipif(sys.platform == "win32", reason="scripts and signals of Unix")
def test_a_runtime_that_breaks_down_is_a_user_error(tmp_path: Path) -> None:
    script = tmp_path / "python"
    script.write_text("#!/bin/sh\nread line\nkill -SEGV $$\n")
    script.chmod(0o755)
    with pytest.raises(UserError, match=r"'onnxruntime' broke down \(signal 11\) at the job 'probe'"):
        ask("onnxruntime", "probe", Interpreters({"onnxruntime": script}))
    with pytest.raises(UserError, match="cannot be started"):
        ask("onnxruntime", "probe", Interpreters({"onnxruntime": tmp_path / "none"}))


def test_a_process_does_not_inherit_the_memory_of_the_one_that_starts_it() -> None:
    ballast = np.ones(300_000_000, np.uint8)
    assert ask("onnxruntime", "probe", Interpreters())["peak_memory_bytes"] < 0.3 * ballast.nbytes


def test_the_graph_for_one_text_takes_the_mask_as_it_is_added(
    student_folder: Path, graph_file: Path, tmp_path: Path
) -> None:
    model = load_model(student_folder)
    path = SOURCES["one-text-graph"](Given(student_folder, model, graph_file, WORKLOAD), tmp_path)
    stacked, _ = pad_to_workload(short_batches(student_folder), WORKLOAD)
    session = onnxruntime.InferenceSession(path)
    assert [given.name for given in session.get_inputs()] == ["input_ids", "mask", "token_type_ids"]
    for number in range(9):
        batch = {name: values[number] for name, values in stacked.items()}
        row = (1.0 - batch["attention_mask"][0].astype(np.float32)) * np.float32(-10000.0)
        mask = np.broadcast_to(row, (1, 1, 12, 12))
        fed = {"input_ids": batch["input_ids"], "mask": mask, "token_type_ids": batch["token_type_ids"]}
        (expected,) = run_model(model, [batch])
        np.testing.assert_allclose(session.run(None, fed)[0], expected, atol=1e-5)
    made = onnx.shape_inference.infer_shapes(onnx.load(path), strict_mode=True).graph
    shapes = {value.name: [axis.dim_value for axis in value.type.tensor_type.shape.dim] for value in made.value_info}
    # Every layer attends with a row of the mask for each query, as ncnn needs it.
    assert [shapes[f"layers.{layer}.scores"][2:] for layer in range(3)] == [[12, 12]] * 3
    tables = {tensor.name: tensor.dims for tensor in made.initializer}
    assert tables["embeddings.token_type.weight"] == [16, 12]
    assert "scalar:-10000.0" not in tables


def test_native_prints_are_overheard_and_silent(capfd: pytest.CaptureFixture[str]) -> None:
    with overheard() as lines:
        os.write(1, b"one\n")
        os.write(2, b"two\n")
        assert lines() == ["one", "two"]
    os.write(1, b"three\n")
    assert capfd.readouterr().out == "three\n"
