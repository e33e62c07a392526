"""`write_stock` leaves a folder that plain `transformers` loads, or says what in the spec BERT has no word for."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch

from export.stock import write_stock
from export.verify import random_batches, run_model
from runs.errors import UserError
from students.bert import load_model
from students.heads import EXACT_LABELS, HeadKind
from students.model import build_student
from students.spec import (
    BottleneckLayer,
    ConvolutionLayer,
    FeedForwardLayer,
    Head,
    StudentSpec,
    TransformerLayer,
    uniform_spec,
)

SPEC = uniform_spec(2, 24, 3, 40, vocabulary_size=50, maximum_positions=30, head=Head("classification", 3))


def _head(kind: HeadKind) -> Head:
    return Head(kind, EXACT_LABELS.get(kind, 3))


PLAIN = """
import importlib.util, json, pathlib, sys
import numpy as np
sys.path[:] = [place for place in sys.path if not (pathlib.Path(place) / "students").is_dir()]
assert not any(importlib.util.find_spec(name) for name in ("students", "export", "runs", "tailorbird"))
import torch, transformers
tokens = {name: torch.from_numpy(value) for name, value in np.load(sys.argv[1]).items()}
found = {}
for folder in map(pathlib.Path, sys.argv[3:]):
    settings = json.loads((folder / "config.json").read_text())
    model = getattr(transformers, settings["architectures"][0]).from_pretrained(folder).eval()
    with torch.inference_mode():
        answered = model(**tokens)
    tensors = [answered.start_logits, answered.end_logits] if "start_logits" in answered else [answered[0]]
    found[folder.name] = np.stack([tensor.numpy() for tensor in tensors], axis=-1)
    if (folder / "tokenizer.json").is_file():
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        found["ids"] = np.array(tokenizer("a very good film")["input_ids"])
        found["labels"] = np.array([model.config.id2label[number] for number in range(model.config.num_labels)])
np.savez(sys.argv[2], **found)
"""


def _checkpoint(spec: StudentSpec, folder: Path) -> Path:
    model = build_student(spec)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for value in model.parameters():
            value.add_(torch.randn(value.shape, generator=generator) * 0.1)
    model.save_pretrained(folder)
    return folder


def test_plain_transformers_loads_it_and_answers_the_same(student_folder: Path, tmp_path: Path) -> None:
    specs: dict[str, StudentSpec] = {kind: replace(SPEC, head=_head(kind)) for kind in get_args(HeadKind)}
    specs["shared"] = replace(SPEC, sharing=(0, 0))
    checkpoints = {kind: _checkpoint(spec, tmp_path / kind) for kind, spec in specs.items()}
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (checkpoints["classification"] / name).write_bytes((student_folder / name).read_bytes())
    folders = {kind: write_stock(folder, tmp_path / "stock" / kind) for kind, folder in checkpoints.items()}
    [tokens] = random_batches(SPEC)[1:2]
    np.savez(tmp_path / "tokens.npz", allow_pickle=False, **tokens)
    given = [tmp_path / "tokens.npz", tmp_path / "answers.npz", *folders.values()]
    done = subprocess.run(
        [sys.executable, "-c", PLAIN, *map(str, given)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    answers = np.load(tmp_path / "answers.npz")
    for kind, folder in checkpoints.items():
        [reference] = run_model(load_model(folder), [tokens])
        answer = answers[kind].reshape(reference.shape)
        # Of padding causal models say what they like.
        real = tokens["attention_mask"] != 0 if reference.shape[:2] == tokens["attention_mask"].shape else slice(None)
        np.testing.assert_allclose(answer[real], reference[real], atol=1e-5)
    assert answers["labels"].tolist() == ["LABEL_0", "LABEL_1", "LABEL_2"]
    assert len(answers["ids"]) == 6  # four words between [CLS] and [SEP]


def test_labels_are_kept_and_a_bert_stays_what_it_is(bert_folder: Path, tmp_path: Path) -> None:
    build_student(SPEC, label_names=("bad", "fair", "good")).save_pretrained(tmp_path / "student")
    write_stock(tmp_path / "student", tmp_path / "stock")
    assert load_model(tmp_path / "stock").config.id2label == {0: "bad", 1: "fair", 2: "good"}
    write_stock(bert_folder, tmp_path / "again")
    state = load_model(tmp_path / "again").state_dict()
    assert all(torch.equal(value, state[name]) for name, value in load_model(bert_folder).state_dict().items())


LAYER = TransformerLayer(3, 24, 40)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (replace(SPEC, embedding_width=12), "an embedding_width of 12 under a hidden_width of 24"),
        (replace(SPEC, layers=(TransformerLayer(3, 12, 40),) * 2), "layer 0 has a qkv_width of 12"),
        (replace(SPEC, layers=(LAYER, replace(LAYER, ffn_width=8))), r"layer 1 .* ffn_width \(8, there 40\)"),
        (replace(SPEC, layers=(LAYER, replace(LAYER, heads=2))), r"layer 1 .* heads \(2, there 3\)"),
        (
            replace(SPEC, layers=(LAYER, replace(LAYER, activation="relu"))),
            r"layer 1 .* activation \(relu, there gelu\)",
        ),
        (replace(SPEC, layers=(LAYER, FeedForwardLayer(40))), "layer 1 is a feed-forward layer"),
        (replace(SPEC, layers=(BottleneckLayer(12, 3, 12, 40), LAYER)), "layer 0 is a bottleneck layer"),
        (replace(SPEC, layers=(ConvolutionLayer(3, 40), LAYER)), "layer 0 is a convolution layer"),
        (
            replace(SPEC, layers=(replace(LAYER, activation="silu"),), head=_head("masked-lm")),
            "silu, under a masked-lm",
        ),
    ],
)
def test_what_bert_cannot_say_is_named_and_nothing_is_written(spec: StudentSpec, said: str, tmp_path: Path) -> None:
    build_student(spec).save_pretrained(tmp_path / "student")
    with pytest.raises(UserError, match=said):
        write_stock(tmp_path / "student", tmp_path / "stock")
    assert not (tmp_path / "stock").exists()


def test_a_folder_of_ours_is_replaced_and_any_other_left_alone(bert_folder: Path, tmp_path: Path) -> None:
    student = _checkpoint(SPEC, tmp_path / "student")
    write_stock(student, tmp_path / "stock")
    (tmp_path / "stock" / "model.safetensors").write_bytes(b"broken")
    write_stock(student, tmp_path / "stock")
    assert load_model(tmp_path / "stock").config.spec_object == SPEC
    for taken in (bert_folder, tmp_path):
        before = sorted(path.name for path in taken.iterdir())
        with pytest.raises(UserError, match="holds something else"):
            write_stock(student, taken)
        assert sorted(path.name for path in taken.iterdir()) == before
    with pytest.raises(UserError, match="the checkpoint itself"):
        write_stock(student, student)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is a file"):
        write_stock(student, tmp_path / "file")


def test_weights_that_are_not_finite_leave_no_folder(tmp_path: Path) -> None:
    model = build_student(SPEC)
    with torch.no_grad():
        next(iter(model.parameters()))[:] = float("nan")
    model.save_pretrained(tmp_path / "student")
    with pytest.raises(UserError, match="not finite"):
        write_stock(tmp_path / "student", tmp_path / "stock")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["student"]
    assert json.loads((tmp_path / "student" / "config.json").read_text())["model_type"] != "bert"
