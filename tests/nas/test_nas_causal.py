"""Searches for students that write on: a budget is what the next token takes, and files write what the student does."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from stock_models import write_stock
from tiny_kinds import BAD, GOOD, PLAIN, write
from tiny_search import QUIET, SPACE, tiny_search
from transformers import LlamaForCausalLM

from devices.workload import Workload
from distill.forms import Inputs, decoder_shape
from distill.stock_teachers import load_stock
from export.generation import generate_greedily
from export.verify import open_graph
from nas.conclusion import WRITTEN_TEXTS, most_compared
from nas.search import SearchSettings, search
from nas.use import next_token
from runs.errors import UserError
from students.model import load_student
from students.spec import Head

EARLIER = 16


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SearchSettings:
    found = tiny_search(tmp_path, monkeypatch, SPACE, EARLIER)
    return replace(found, data=str(write("causal-lm", tmp_path)), task="causal-lm")


@pytest.mark.parametrize("method", ["ridge", "autotinybert"])
def test_from_texts_to_files_that_write_on(method: str, settings: SearchSettings) -> None:
    (verdict,) = search(replace(settings, method=method), QUIET)
    assert verdict["within_budget"] and verdict["parity"]["max_abs_error"] <= 1e-4
    workload = verdict["workload"]
    assert (workload["sequence_length"], workload["earlier_tokens"]) == (1, EARLIER)
    files, folder = verdict["student"]["files"], Path(verdict["folder"])
    assert all(file["latency_ms"] > 0 and file["first_token_ms"] > 0 for file in files)
    assert verdict["score"]["metric"] == "inverse_perplexity"
    card = (folder / "student" / "README.md").read_text()
    assert (
        f"the next token after {EARLIER}" in card and f"The first token, which reads {EARLIER} of a text: `stu" in card
    )
    assert "first_token_ms" in (settings.folder() / "report.html").read_text()
    student = load_student(folder / "student")
    rng = np.random.default_rng(0)
    for file in ("student.onnx", "student.ort.onnx"):
        session = open_graph(folder / file)
        for length in (1, 5):
            ids = rng.integers(5, student.config.spec_object.vocabulary_size, (1, length))
            mask = np.ones_like(ids)
            with torch.inference_mode():
                given = torch.from_numpy(ids), torch.from_numpy(mask)
                numbers = {"max_new_tokens": 12, "min_new_tokens": 12, "pad_token_id": 0}
                written = student.generate(given[0], attention_mask=given[1], do_sample=False, **numbers)
            np.testing.assert_array_equal(generate_greedily(session, ids, mask, 12), written[:, length:].numpy())


@pytest.fixture
def llama(settings: SearchSettings, tmp_path: Path) -> SearchSettings:
    """With a decoder as teacher, from which nothing can be cut."""
    folder = write_stock("llama", tmp_path / "llama", (*PLAIN, *GOOD, *BAD), LlamaForCausalLM)
    return replace(settings, teacher=str(folder))


def test_a_decoder_teaches_students_from_nothing(llama: SearchSettings) -> None:
    (verdict,) = search(llama, QUIET)
    assert verdict["within_budget"] and verdict["parity"]["max_abs_error"] <= 1e-4
    assert verdict["teacher"]["timed_as"] == "a causal student of its depth and widths"
    learnt = (Path(verdict["folder"]) / "student" / "distilled.json").read_text()
    assert '"name": "from-random"' in learnt
    shape = decoder_shape(load_stock(Path(str(llama.teacher))), Head("causal-lm"), Inputs(33, 40, 1))
    assert [layer.ffn_width for layer in shape.layers] == [48, 48] and shape.vocabulary_size == 33


@pytest.mark.parametrize("method", ["autotinybert", "elm", "integer-programming", "w-pca", "zero-step", "kd-nas-paper"])
def test_a_method_that_starts_from_its_teacher_is_told_so(method: str, llama: SearchSettings) -> None:
    grown = Path(str(llama.space)).with_name("elm.yaml")
    grown.write_text(SPACE.replace("hidden: [16, 24]", "hidden: [24]"))
    with pytest.raises(UserError, match=f"--method {method} cuts students .* 'llama', none can be cut: choose one"):
        search(replace(llama, method=method, space=str(grown)), QUIET)
    assert not llama.folder().exists()


def test_teachers_are_told_apart(settings: SearchSettings, llama: SearchSettings, tmp_path: Path) -> None:
    encoder = write_stock("roberta", tmp_path / "roberta", (*PLAIN, *GOOD, *BAD))
    with pytest.raises(UserError, match="'roberta' reads whole texts, and causal-lm needs one that writes them on"):
        search(replace(settings, teacher=str(encoder)), QUIET)
    classes = str(write("classification", tmp_path))
    with pytest.raises(UserError, match="is of type 'llama', and a search cuts students from bert, roberta"):
        search(replace(llama, data=classes, task=None), QUIET)


def test_what_cannot_write_on_is_refused(settings: SearchSettings, tmp_path: Path) -> None:
    mixed = tmp_path / "mixed.yaml"
    mixed.write_text(f"{SPACE}types: [transformer, convolution of 3]\n")
    with pytest.raises(UserError, match="layers of type convolution, which see later words"):
        search(replace(settings, space=str(mixed)), QUIET)
    with pytest.raises(UserError, match="chooses by answers, and a causal-lm student answers no texts"):
        search(replace(settings, precision_auto=True), QUIET)
    with pytest.raises(UserError, match="target 'cpu' runs checkpoints, and the next token of a text is timed in ONNX"):
        search(replace(settings, target="cpu"), QUIET)
    assert not settings.folder().exists()
    with pytest.raises(UserError, match=f"with {EARLIER} tokens in their cache, and 31 are asked for"):
        search(replace(settings, workload=Workload(1, 31, 1)), QUIET)
    masked = replace(
        settings, data=str(write("masked-lm", tmp_path)), task="masked-lm", workload=Workload(1, EARLIER, 1)
    )
    with pytest.raises(UserError, match=f"with {EARLIER} tokens in their cache, and 0 are asked for"):
        search(masked, QUIET)


def test_the_next_token_has_a_place() -> None:
    assert next_token(Workload(2, 128, 1), 512) == Workload(2, 1, 1, earlier_tokens=128)
    assert next_token(Workload(1, 128, 1), 128).earlier_tokens == 127


def test_some_texts_are_compared_where_every_score_of_every_word_is() -> None:
    assert most_compared("causal-lm") == WRITTEN_TEXTS and most_compared("classification") is None
