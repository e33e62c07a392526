"""A bundle stands alone: it answers as its checkpoint does, without us, and is there whole or not at all."""

import json
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from transformers import BertTokenizerFast

import export.bundle
from export.bundle import write_bundle
from export.bundle_files import run
from export.bundle_models import OPERATORS_FILE
from export.bundle_origin import Measured
from export.form import Form
from export.student import load_tokenizer
from export.verify import run_model, text_batches
from runs.errors import UserError
from students.bert import load_model
from students.model import build_student
from students.spec import Head, uniform_spec

TEXTS = ["a very good film", "the plot not bad", "dull!", "Très BRIGHT plot", "bad " * 90]
LENGTH = 32


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """One bundle for the tests that only read it; its checkpoint lies beside it."""
    folder = tmp_path_factory.mktemp("bundled")
    spec = uniform_spec(2, 24, 2, 32, vocabulary_size=40, maximum_positions=64, head=Head("classification", 3))
    model = build_student(spec, label_names=("bad", "fair", "good"))
    generator = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        parameter.data += 0.3 * torch.randn(parameter.shape, generator=generator)
    model.head.classifier.bias.data.zero_()
    model.save_pretrained(folder / "checkpoint")
    save_words(folder / "checkpoint")
    write_bundle(folder / "checkpoint", folder / "bundle", maximum_length=LENGTH, texts=TEXTS)
    return folder / "bundle"


def save_words(folder: Path) -> None:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad", "film", "plot", "the", "a", "very", "not"]
    words += ["dull", "bright", "tres", "!", "##ly", "##s", "is", ".", ",", "c", "##af", "##e", "北"]
    BertTokenizerFast(vocab={word: index for index, word in enumerate(words)}).save_pretrained(folder)


def answers(bundle: Path, *arguments: str, python: str = sys.executable) -> list[dict[str, object]]:
    """What run.py prints as the command line."""
    done = subprocess.run([python, "-I", str(bundle / "run.py"), *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def expected_labels(checkpoint: Path, texts: list[str]) -> list[str]:
    model, tokenizer = load_model(checkpoint), load_tokenizer(checkpoint)
    labels = []
    for batch in text_batches(tokenizer, texts, batch_size=1, maximum_length=LENGTH):
        (logits,) = run_model(model, [batch])
        labels.append(model.config.id2label[int(np.asarray(logits).argmax())])
    return labels


@pytest.fixture(scope="module")
def bare_python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An interpreter whose environment holds onnxruntime and numpy, and nothing else that we have."""
    place = tmp_path_factory.mktemp("bare") / "environment"
    venv.create(place, symlinks=True)
    (packages,) = place.glob("lib/python*/site-packages")
    libraries = Path(onnx.__file__).parent.parent
    for name in ("numpy", "numpy.libs", "onnxruntime"):
        if (libraries / name).exists():
            (packages / name).symlink_to(libraries / name)
    return str(place / "bin" / "python")


def test_it_answers_where_only_onnxruntime_and_numpy_are(bundle: Path, bare_python: str, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere"
    shutil.copytree(bundle, moved)
    known = subprocess.run([bare_python, "-I", "-c", "import transformers"], capture_output=True)
    assert known.returncode != 0
    expected = expected_labels(bundle.parent / "checkpoint", TEXTS)
    assert len(set(expected)) > 1
    for model in ("student.onnx", f"student.1x{LENGTH}.onnx", "student.ort"):
        found = answers(moved, "--model", model, *TEXTS, python=bare_python)
        assert [answer["label"] for answer in found] == expected
        assert [answer["text"] for answer in found] == TEXTS


def test_the_tokenizer_inside_the_graph_answers_alike(bundle: Path) -> None:
    found = answers(bundle, "--text-model", *TEXTS)
    assert [answer["label"] for answer in found] == expected_labels(bundle.parent / "checkpoint", TEXTS)


def test_sums_are_those_of_every_file(bundle: Path, tmp_path: Path) -> None:
    assert subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=bundle).returncode == 0
    listed = {line.split("  ")[1] for line in (bundle / "SHA256SUMS").read_text().splitlines()}
    there = {path.relative_to(bundle).as_posix() for path in bundle.rglob("*") if path.is_file()}
    assert listed == there - {"SHA256SUMS"}
    assert {"README.md", "MODEL_CARD.md", "labels.json", "tokenizer/tokenizer.json", OPERATORS_FILE} <= listed
    assert bundle.stat().st_mode & 0o777 == 0o755
    moved = tmp_path / "changed"
    shutil.copytree(bundle, moved)
    with (moved / "student.onnx").open("ab") as model:
        model.write(b" ")
    done = subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=moved, capture_output=True)
    assert done.returncode != 0


def test_fixed_and_dynamic_shapes_are_what_they_say(bundle: Path) -> None:
    shapes = {}
    for name in ("student.onnx", f"student.1x{LENGTH}.onnx"):
        given = onnx.load(bundle / name).graph.input[0].type.tensor_type.shape.dim
        shapes[name] = [axis.dim_value or axis.dim_param for axis in given]
    assert shapes == {"student.onnx": ["batch", "sequence"], f"student.1x{LENGTH}.onnx": [1, LENGTH]}


def test_the_operators_are_listed_without_a_trace_of_this_machine(bundle: Path) -> None:
    lines = (bundle / OPERATORS_FILE).read_text().splitlines()
    assert any("Attention" in line for line in lines if line.startswith("ai.onnx;"))
    for path in bundle.rglob("*"):
        if path.suffix in (".config", ".md", ".json"):
            assert str(bundle.parent) not in path.read_text()


def test_check_tells_a_wrong_model_from_a_right_one(bundle: Path, tmp_path: Path) -> None:
    moved = tmp_path / "changed"
    shutil.copytree(bundle, moved)
    command = [sys.executable, "-I", str(moved / "run.py"), "--check"]
    right = subprocess.run(command, capture_output=True, text=True)
    assert right.returncode == 0 and "16 of 16" in right.stdout
    graph = onnx.load(moved / "student.onnx")
    (bias,) = (weight for weight in graph.graph.initializer if weight.name.endswith("classifier.bias"))
    bias.raw_data = np.array([-9.0, -9.0, 9.0], dtype=np.float32).tobytes()
    onnx.save(graph, moved / "student.onnx")
    assert subprocess.run(command, capture_output=True).returncode == 1


def test_pages_say_what_is_known_and_what_is_not(bundle: Path) -> None:
    card, readme = (bundle / "MODEL_CARD.md").read_text(), (bundle / "README.md").read_text()
    assert "not written down beside the checkpoint" in card and "bad, fair, good" in card
    assert "None is written down" in card
    tried = 16 + len(TEXTS)
    assert "ARM" in readme and "No time was measured" in readme and f"{tried} of {tried}" in readme
    assert not any(text in (bundle / "examples.json").read_text() for text in TEXTS[:2])


def test_another_precision_is_another_file(bundle: Path, tmp_path: Path) -> None:
    form, checkpoint = Form(precision="int8"), bundle.parent / "checkpoint"
    times = [
        Measured(name, 1.25, "ONNX Runtime", "a machine", "batch 1, 32 tokens, 1 thread")
        for name in ("student.int8.onnx", "student.ort.int8.onnx", "student.onnx")
    ]
    made = write_bundle(checkpoint, tmp_path / "small", form, maximum_length=LENGTH, measured=times)
    readme = (tmp_path / "small" / "README.md").read_text()
    assert readme.count("a machine") == 2 and "`student.ort.int8.onnx` is the graph" in readme
    names = [file.name for file in made.files]
    assert names == ["student.int8.onnx", f"student.int8.1x{LENGTH}.onnx", "student.ort", "student.text.onnx"]
    assert made.files[0].size_bytes < (bundle / "student.onnx").stat().st_size
    assert made.files[0].max_abs_error > 0
    assert answers(tmp_path / "small", "a very good film")[0]["label"] in ("bad", "fair", "good")
    json.dumps(made.to_json())


@pytest.mark.parametrize("kind", sorted(set(run.ANSWERS) - {"classification"}))
def test_every_head_answers(kind: str, tmp_path: Path) -> None:
    labels = {"regression": 1, "tokens": 3}.get(kind, 2)
    spec = uniform_spec(1, 16, 2, 16, vocabulary_size=40, maximum_positions=24, head=Head(kind, labels))  # type: ignore[arg-type]
    build_student(spec).save_pretrained(tmp_path / "checkpoint")
    save_words(tmp_path / "checkpoint")
    made = write_bundle(tmp_path / "checkpoint", tmp_path / "bundle")
    assert all(all(file.agrees) for file in made.files)
    for name in ("student.onnx", "student.1x24.onnx"):
        student = run.Student(tmp_path / "bundle", name)
        answer = student.answer("the film is [MASK] good", "a plot" if kind == "spans" else None)
        assert run.same(answer, json.loads(json.dumps(answer)))[0]


def test_bad_input_is_refused_before_anything_is_written(bundle: Path, bert_folder: Path, tmp_path: Path) -> None:
    checkpoint, output = bundle.parent / "checkpoint", tmp_path / "out"
    with pytest.raises(UserError, match="does not exist"):
        write_bundle(tmp_path / "nowhere", output)
    with pytest.raises(UserError, match="no tokenizer"):
        write_bundle(bert_folder, output)
    with pytest.raises(UserError, match="at least 8"):
        write_bundle(checkpoint, output, maximum_length=4)
    with pytest.raises(UserError, match="unknown precision"):
        write_bundle(checkpoint, output, Form(precision="int3"))
    with pytest.raises(UserError, match="holds"):
        write_bundle(checkpoint, bundle.parent)
    with pytest.raises(UserError, match="is a file"):
        write_bundle(checkpoint, bundle / "run.py")
    with pytest.raises(UserError, match="no folder can be made"):
        write_bundle(checkpoint, bundle / "run.py" / "inside")
    save_words(bert_folder)
    narrow = build_student(uniform_spec(1, 8, 1, 8, vocabulary_size=9, maximum_positions=16))
    narrow.save_pretrained(bert_folder)
    with pytest.raises(UserError, match="belong together"):
        write_bundle(bert_folder, output)
    causal = uniform_spec(1, 8, 1, 8, vocabulary_size=40, maximum_positions=16, head=Head("causal-lm"))
    build_student(causal).save_pretrained(bert_folder)
    with pytest.raises(UserError, match="causal-lm"):
        write_bundle(bert_folder, output)
    assert not output.exists()


def test_only_a_bundle_is_replaced(bundle: Path, tmp_path: Path) -> None:
    checkpoint, letters, old = bundle.parent / "checkpoint", tmp_path / "letters", tmp_path / "old"
    letters.mkdir()
    (letters / "letter.txt").write_text("dear")
    with pytest.raises(UserError, match=r"letter\.txt"):
        write_bundle(checkpoint, letters)
    assert [path.name for path in letters.iterdir()] == ["letter.txt"]
    shutil.copytree(bundle, old)
    (old / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"notes\.txt"):
        write_bundle(checkpoint, old)
    (old / "notes.txt").unlink()
    (old / "README.md").write_text("changed")
    write_bundle(checkpoint, old, maximum_length=LENGTH, texts=TEXTS)
    # ONNX Runtime's converter orders what it writes by chance; all else is the same to the byte.
    first, second = ((folder / "SHA256SUMS").read_text().splitlines() for folder in (bundle, old))
    differing = [one for one, other in zip(first, second, strict=True) if one != other]
    assert all(line.endswith("  student.ort") for line in differing)


def test_an_interrupted_bundle_leaves_nothing(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(export.bundle, "write_models", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_bundle(bundle.parent / "checkpoint", tmp_path / "out" / "bundle")
    assert list((tmp_path / "out").iterdir()) == []
