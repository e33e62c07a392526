"""Bad input to the commands: one sentence that names the trouble, exit code 2, no traceback, nothing left behind."""

import json
import shutil
from pathlib import Path

import pytest
import torch


def search(world, **changes: object) -> list[object]:
    """Arguments of a search over the tiny world, with some of them changed."""
    flags = {
        "budget-ms": 2,
        "target": f"replay:{world.profile}",
        "teacher": world.teacher,
        "data": world.data,
        "space": world.space,
        "sequence-length": 16,
        **{name.replace("_", "-"): value for name, value in changes.items()},
    }
    return [part for name, value in flags.items() for part in (f"--{name}", value)]


def test_an_unknown_target_is_answered_with_the_known_ones(refused):
    assert "'cpuu'" in (sentence := refused("profile-device", "--target", "cpuu"))
    assert "cpu, " in sentence and "onnxruntime" in sentence


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_cuda_without_a_gpu_is_said_so(refused):
    assert "GPU" in refused("profile-device", "--target", "cuda")


@pytest.mark.parametrize(
    ("flags", "word"),
    [
        (["--sequence-length", "long"], "16-512"),
        (["--sequence-length", "512-16"], "512-16"),
        (["--sequence-length", "0-16"], "--sequence-length is 0"),
        (["--threads", "0"], "--threads"),
        (["--precision", "fp23"], "fp32"),
        (["--effort", "quik"], "quick"),
        (["--minutes", "0.5"], "--minutes is 0.5"),
        (["--minutes", "nan"], "--minutes is nan"),
        (["--error-percent", "-1"], "--error-percent is -1"),
        (["--adapt-from", "nowhere"], "nowhere is not a device profile"),
    ],
    ids=" ".join,
)
def test_a_profile_that_cannot_be_made_is_refused(refused, flags, word):
    assert word in refused("profile-device", "--target", "cpu", *flags)


def test_a_profile_cannot_be_adapted_by_too_few_samples(world, refused):
    flags = ["--adapt-from", world.profile, "--samples", "4"]
    assert "--samples is 4" in refused("profile-device", "--target", "cpu", *flags)


def test_a_profile_of_an_older_version_is_refused(world, refused, tmp_path):
    profile = shutil.copytree(world.profile, tmp_path / "profile")
    device = json.loads((profile / "device.json").read_text())
    (profile / "device.json").write_text(json.dumps({**device, "schema": 1}))
    assert "schema 1" in refused("predict-latency", "bert-tiny", "--profile", profile)


@pytest.mark.parametrize("budget", ["0", "-3", "nan", "inf", "fast"])
def test_a_budget_must_be_a_number_above_zero(world, refused, budget):
    assert "--budget-ms" in refused("nas-search", *search(world, budget_ms=budget))


def test_a_budget_nobody_meets_names_the_fastest_student(world, refused):
    sentence = refused("nas-search", *search(world, budget_ms=0.01))
    assert "fastest" in sentence and " ms" in sentence


def test_a_teacher_must_be_a_model(world, refused, tmp_path):
    assert "nowhere" in refused("nas-search", *search(world, teacher="./nowhere"))
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "empty" in refused("nas-search", *search(world, teacher=empty))
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "config.json").write_text('{"model_type": "t5"}')
    assert "t5" in refused("nas-search", *search(world, teacher=foreign))
    (foreign / "config.json").write_text('{"model_type": "deberta-v2"}')
    assert "from-random knows others" in refused("nas-search", *search(world, teacher=foreign))
    (foreign / "config.json").write_text('{"model_type": "mpnet"}')
    assert "foreign has no tokenizer" in refused("nas-search", *search(world, teacher=foreign))


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (None, "exist"),
        ("", "empty"),
        ("text,label\n", "empty"),
        ("words,label\ngood,1\nbad,0\n", "text"),
        ("text,answer\ngood,1\nbad,0\n", "label"),
        ("text,label\n" + "".join(f"text {n},1\n" for n in range(50)), "class"),
    ],
    ids=["missing", "empty", "header-only", "no-text", "no-label", "one-class"],
)
def test_data_that_cannot_teach_is_refused(world, refused, tmp_path, content, word):
    data = tmp_path / "rows.csv"
    if content is not None:
        data.write_text(content)
    assert word in (sentence := refused("nas-search", *search(world, data=data)))
    assert "rows.csv" in sentence


def test_a_folder_of_another_run_is_left_alone(world, refused, tmp_path):
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "run.json").write_text(json.dumps({"kind": "search", "schema": 1, "settings": {"seed": 7}, "stages": {}}))
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "dear.txt").write_text("hello")
    for folder in ("taken", "letters"):
        before = sorted(path for path in (tmp_path / folder).rglob("*"))
        assert folder in refused("nas-search", *search(world, output=tmp_path / folder))
        assert sorted(path for path in (tmp_path / folder).rglob("*")) == before


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda device: device["fingerprint"].update(processor="Another 9000"), "processor"),
        (lambda device: device["fingerprint"].update(runtime={"onnxruntime": "0.1"}), "runtime"),
        (lambda device: device["fingerprint"].update(lowering=-1), "lowering"),
        (lambda device: device.update(schema=999), "schema"),
    ],
    ids=["processor", "runtime", "lowering", "schema"],
)
def test_a_profile_of_another_device_is_refused(world, refused, tmp_path, change, word):
    profile = shutil.copytree(world.profile, tmp_path / "profile")
    device = json.loads((profile / "device.json").read_text())
    change(device)
    (profile / "device.json").write_text(json.dumps(device))
    arguments = search(world, profile=profile, target="onnxruntime")
    assert word in refused("nas-search", *arguments)


@pytest.mark.parametrize(
    ("command", "word"),
    [
        (["nas-search", "--budget-ms", "5", "--method", "kd-nass"], "kd-nas"),
        (["nas-search", "--budget-ms", "5", "--space", "hybird"], "hybrid"),
        (["nas-search", "--budget-ms", "5", "--method", "integer-programming", "--space", "mixed"], "--space pruning"),
        (["nas-search", "--budget-ms", "5", "--effort", "quik"], "quick"),
        (["nas-search", "--budget-ms", "5", "--sequence-length", "long"], "auto"),
        (["nas-search", "--budget-ms", "5", "--precision", "int7"], "fp16, int8, or auto"),
        (["nas-search", "--budget-ms", "5", "--threads", "0"], "--threads"),
        (["nas-search"], "--budget-ms"),
        (["nas-search", "--budget-ms", "5", "--method", "elm", "--space", "hybrid"], "--space elm-small"),
        (["nas-search", "--budget-ms", "5", "--parameter-target", "5000000"], "choose elm"),
        (["predict-latency", "tinybert-5"], "tinybert-4"),
        (["predict-latency", "tinybert-4", "--earlier-tokens", "8"], "only causal language models"),
        (["profile-device", "--target", "cpu", "--earlier-tokens", "8"], "--target onnxruntime"),
        (["predict-latency", "specs/missing.json"], "missing.json"),
        (["distill-student", "--student", "bert-tiny", "--recipe", "defalt"], "default"),
        (["distill-student", "--student", "bert-tiny", "--vocabulary", "words"], "all, data"),
        (
            ["distill-student", "--student", "bert-tiny", "--transfer-data", "missing.txt"],
            "give a file with one text a line",
        ),
        (["measure-student", "missing.onnx"], "missing.onnx"),
        (["export-student", "missing", "--output", "out"], "missing"),
    ],
    ids=lambda value: "-".join(value[:1] + value[-1:]) if isinstance(value, list) else None,
)
def test_a_wrong_word_is_answered_with_what_would_be_right(refused, command, word):
    assert word in refused(*command)


def test_a_broken_graph_is_not_measured(refused, tmp_path):
    broken = Path(tmp_path / "broken.onnx")
    broken.write_bytes(b"no graph")
    assert "broken.onnx" in refused("measure-student", broken, "--processes", 1)
