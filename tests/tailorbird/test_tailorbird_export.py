"""`export-student` as a whole: files, gate, pruned vocabulary, bundle, stock folder and other runtimes."""

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from export.gate import Gate
from export.graph_file import read_graph_file
from export.vocabulary import prune_checkpoint
from runs.errors import UserError
from runs.progress import Progress
from tailorbird.exporting import BUNDLE, PRUNED, RECORD, STOCK, Request, export_checkpoint

QUIET = Progress(quiet=True)
LENGTH = 16


def request(world, output: Path, **asked) -> Request:
    return Request(world.teacher, output, maximum_length=LENGTH, **asked)


@pytest.fixture
def typed(world, tmp_path) -> Path:
    """The teacher with a tokenizer that tells the texts of a pair apart, as BERT's own does."""
    folder = tmp_path / "typed"
    shutil.copytree(world.teacher, folder)
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings["model_input_names"] = ["input_ids", "token_type_ids", "attention_mask"]
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


def test_everything_at_once(world, typed, tmp_path):
    output = tmp_path / "out"
    asked = Request(
        typed,
        output,
        maximum_length=LENGTH,
        precisions=("fp32", "int8", "int8-static"),
        data=str(world.data),
        prune_vocabulary=True,
        bundle=True,
        stock=True,
        runtimes=("onnxruntime",),
    )
    result = export_checkpoint(asked, QUIET)
    assert json.loads((output / RECORD).read_text()) == json.loads(json.dumps(result))
    names = [file["file"] for file in result["files"]]
    assert names == [
        "student.onnx",
        "student.ort.onnx",
        "student.int8.onnx",
        "student.ort.int8.onnx",
        "student.int8-static.onnx",
        "student.ort.int8-static.onnx",
    ]
    assert all((output / name).is_file() for name in names)
    assert result["vocabulary"]["kept"] <= result["vocabulary"]["whole"]
    assert read_graph_file(output / "student.onnx").spec.vocabulary_size == result["vocabulary"]["kept"]
    assert result["runtimes"][0]["agreement"] == 1.0
    assert (output / PRUNED / "config.json").is_file() and (output / STOCK / "config.json").is_file()
    run = subprocess.run(
        [sys.executable, str(output / BUNDLE / "run.py"), "--check"], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr


def test_what_is_not_worth_it_is_refused_with_the_reason(world, tmp_path):
    output = tmp_path / "out"
    asked = request(world, output, data=str(world.data), gate=Gate(minimum_gain=0.99))
    result = export_checkpoint(asked, QUIET)
    assert set(result["refused"]) == {"student.int8.onnx", "student.ort.int8.onnx"}
    assert "refused, since" in result["refused"]["student.int8.onnx"]["reason"]
    assert sorted(path.name for path in output.glob("*.onnx")) == ["student.onnx", "student.ort.onnx"]


def test_a_model_of_few_positions_is_timed_on_as_many_tokens(world, tmp_path):
    asked = Request(world.teacher, tmp_path / "out", precisions=("int8",), dialects=("portable",), gate=Gate())
    assert asked.maximum_length == 128
    result = export_checkpoint(asked, QUIET)
    assert result["workload"]["sequence_length"] == 32 and [one["file"] for one in result["files"]][0] == "student.onnx"


def test_an_export_cut_short_after_pruning_goes_on_and_leaves_no_refused_file(world, tmp_path):
    output = tmp_path / "out"
    output.mkdir()
    prune_checkpoint(world.teacher, ["the film was good"], output / PRUNED)
    export_checkpoint(request(world, output, data=str(world.data), prune_vocabulary=True), QUIET)
    assert (output / "student.int8.onnx").is_file()
    export_checkpoint(request(world, output, data=str(world.data), gate=Gate(minimum_gain=0.99)), QUIET)
    assert sorted(path.name for path in output.glob("*.onnx")) == ["student.onnx", "student.ort.onnx"]


def test_fixed_axes_and_embeddings_have_files_of_their_own(world, tmp_path):
    asked = request(world, tmp_path / "out", embeddings="int8", batch_size=1, sequence_length=8, precisions=("fp32",))
    names = [file["file"] for file in export_checkpoint(asked, QUIET)["files"]]
    assert names == [
        "student.1x8.onnx",
        "student.ort.1x8.onnx",
        "student.embeddings-int8.1x8.onnx",
        "student.ort.embeddings-int8.1x8.onnx",
    ]


def write(path: Path, rows: list[tuple[str, str]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as out:
        csv.writer(out).writerows([("text", "label"), *rows])
    return path


def test_bad_input_is_one_sentence_and_writes_nothing(world, tmp_path):
    empty, bytes_, used = tmp_path / "empty.txt", tmp_path / "bytes.txt", tmp_path / "used"
    empty.write_text("\n \n")
    bytes_.write_bytes(b"\xff\xfe\xff")
    used.mkdir()
    (used / "letter.txt").write_text("dear")
    other = write(tmp_path / "other.csv", [(f"text {n}", "abc"[n % 3]) for n in range(60)])
    renamed = write(tmp_path / "renamed.csv", [(f"text {n}", ("up", "down")[n % 2]) for n in range(60)])
    static = {"precisions": ("int8-static",)}
    cases = [
        ({**static, "calibration": empty}, "holds no text"),
        ({**static, "calibration": bytes_}, "not UTF-8"),
        ({**static, "calibration": tmp_path / "none.txt"}, "does not exist"),
        (static, "--calibration or --data"),
        ({"data": str(other)}, "2 labels .* has 3"),
        ({"data": str(renamed)}, "knows no label"),
        ({"prune_vocabulary": True}, "--data"),
        ({"runtimes": ("tensorflow",)}, "onnxruntime"),
        ({"runtimes": ("onnxruntime",), "dialects": ("onnxruntime",)}, "--dialect portable"),
        ({"dialects": ("latin",)}, "portable"),
        ({"precisions": ("int3",)}, "int4"),
        ({"embeddings": "int3"}, "int4"),
        ({"batch_size": 0}, "at least 1"),
    ]
    for asked, sentence in cases:
        with pytest.raises(UserError, match=sentence):
            export_checkpoint(request(world, tmp_path / "out", **asked), QUIET)
        assert not (tmp_path / "out").exists(), asked
    with pytest.raises(UserError, match=r"letter\.txt"):
        export_checkpoint(request(world, used), QUIET)
