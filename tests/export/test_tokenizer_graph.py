"""The tokenizer inside the graph: the ids of `transformers`, whatever the text, and labels behind a student."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import onnxruntime_extensions
import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertTokenizerFast, PreTrainedTokenizerFast

from export.form import Form
from export.graph import student_graph
from export.student import load_tokenizer
from export.tokenizer_graph import ids_graph, text_graph
from export.tokenizer_ids import IDS
from export.tokenizer_rules import text_rules
from export.weights import module_weights
from runs.errors import UserError
from students.model import StudentPreTrainedModel, build_student
from students.spec import Head, uniform_spec

LENGTH = 16
LABELS = ("bad", "fair", "good")
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "naive", "cafe", "##s", "the", "a", "##b", "b", "!", "?", "#"]
PIECES += [
    "日",
    "\u1112",
    "##\u1161",
    "##\u11ab",
    "İ",
    "i",
    "##i",
    "Café",
    "##\u0301",
    "é",
    "##é",
    "[",
    "]",
    "sep",
    "😀",
]
TEXTS = [
    "naïve cafés",
    "",
    " \n\t",
    "the [SEP] a[CLS]b [sep] [SE\ue001P] \ue000 [PAD]",
    "日本 한 ab日b 😀!?😀",
    "a\0b\u200bb\u00adb\u3000b",
    "I\u0307i İ Café cafe\u0301s " + "a" + "b" * 99 + " a" + "b" * 100,
    "b " * 5000,
    "ab" * 5000,
    "\u0301",
]
SETTINGS: dict[str, dict[str, Any]] = {
    "uncased": {},
    "cased": {"do_lower_case": False},
    "accents kept": {"strip_accents": False},
}


def session(model: onnx.ModelProto) -> Any:
    options = onnxruntime.SessionOptions()
    options.register_custom_ops_library(onnxruntime_extensions.get_library_path())
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def answer(opened: Any, texts: Sequence[str]) -> list[Any]:
    found: list[Any] = opened.run(None, {"texts": np.array(texts, dtype=object)})
    return found


@pytest.fixture(scope="module")
def tokenizer_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("words")
    BertTokenizerFast(vocab={piece: number for number, piece in enumerate(PIECES)}).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("name", SETTINGS)
def test_ids_are_those_of_transformers(name: str, tmp_path: Path) -> None:
    vocabulary = {piece: number for number, piece in enumerate(PIECES)}
    BertTokenizerFast(vocab=vocabulary, **SETTINGS[name]).save_pretrained(tmp_path)
    tokenizer, opened = load_tokenizer(tmp_path), session(ids_graph(tmp_path, LENGTH))
    for texts in (TEXTS, *([text] for text in TEXTS)):
        expected = tokenizer(texts, truncation=True, max_length=LENGTH, padding=True, return_tensors="np")
        for key, found in zip(IDS, answer(opened, texts), strict=True):
            np.testing.assert_array_equal(found, expected[key], err_msg=f"{key} of {texts!r:.60}")
    assert any(tokenizer.unk_token_id not in row for row in tokenizer(TEXTS)["input_ids"])


def test_every_basic_character_has_the_same_ids(tokenizer_folder: Path) -> None:
    tokenizer, opened = load_tokenizer(tokenizer_folder), session(ids_graph(tokenizer_folder, 512))
    letters = [chr(code) for code in range(0x10000) if not 0xD800 <= code < 0xE000]
    texts = [
        " ".join(f"a{letter}b" for letter in letters[start : start + 100]) for start in range(0, len(letters), 100)
    ]
    expected = tokenizer(texts, truncation=True, max_length=512, padding=True, return_tensors="np")
    np.testing.assert_array_equal(answer(opened, texts)[0], expected["input_ids"])


def classifier(labels: int = 3, **rest: Any) -> StudentPreTrainedModel:
    spec = uniform_spec(1, 16, 2, 24, vocabulary_size=len(PIECES), head=Head("classification", labels), **rest)
    model = build_student(spec)
    generator = torch.Generator().manual_seed(5)
    for parameter in model.parameters():
        parameter.data += 0.5 * torch.randn(parameter.shape, generator=generator)
    return model


@pytest.mark.parametrize("form", [Form(), Form("onnxruntime"), Form(batch_size=1, sequence_length=LENGTH)])
def test_labels_and_scores_are_the_students(form: Form, tokenizer_folder: Path) -> None:
    model = classifier()
    graph = student_graph(model.config.spec_object, module_weights(model), form, {"made": "here"})
    before = graph.SerializeToString()
    whole = text_graph(tokenizer_folder, graph, LABELS, LENGTH)
    assert graph.SerializeToString() == before
    assert [(entry.key, entry.value) for entry in whole.metadata_props] == [("made", "here")]
    names = [value.name for value in whole.graph.initializer]
    assert len(set(names)) == len(names)
    opened, tokenizer = session(whole), load_tokenizer(tokenizer_folder)
    for texts in [[text] for text in TEXTS] if form.batch_size else [TEXTS]:
        tokens = tokenizer(texts, truncation=True, max_length=LENGTH, padding=True, return_tensors="pt")
        with torch.inference_mode():
            expected = model(**tokens).logits.softmax(dim=-1).numpy()
        labels, scores = answer(opened, texts)
        np.testing.assert_allclose(scores, expected, atol=1e-5)
        assert list(labels) == [LABELS[best] for best in expected.argmax(axis=1)]


def test_a_pruned_vocabulary_without_hangul_leaves_its_syllables_out(tokenizer_folder: Path, tmp_path: Path) -> None:
    plain = [piece for piece in PIECES if not any("\u1100" <= letter < "\u1200" for letter in piece)]
    BertTokenizerFast(vocab={piece: number for number, piece in enumerate(plain)}).save_pretrained(tmp_path)
    assert "한" in text_rules(tokenizer_folder).table
    assert "한" not in text_rules(tmp_path).table
    found = answer(session(ids_graph(tmp_path, LENGTH)), ["a한b 한 b"])[0]
    assert found.tolist() == [load_tokenizer(tmp_path)("a한b 한 b")["input_ids"]]


def test_what_cannot_be_put_together_is_refused(tokenizer_folder: Path) -> None:
    model = classifier()
    graph = student_graph(model.config.spec_object, module_weights(model))
    with pytest.raises(UserError, match="2 labels for a model of 3 scores"):
        text_graph(tokenizer_folder, graph, LABELS[:2], LENGTH)
    with pytest.raises(UserError, match="at most 2 tokens leave no room"):
        text_graph(tokenizer_folder, graph, LABELS, 2)
    spec = uniform_spec(1, 16, 2, 24, vocabulary_size=len(PIECES), head=Head("none"))
    headless = student_graph(spec, module_weights(build_student(spec)))
    with pytest.raises(UserError, match="answers last_hidden_state"):
        text_graph(tokenizer_folder, headless, LABELS, LENGTH)


def test_another_kind_of_tokenizer_is_refused(tmp_path: Path) -> None:
    words = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel({"[UNK]": 0, "a": 1}, unk_token="[UNK]")), unk_token="[UNK]"
    )
    words.save_pretrained(tmp_path)
    with pytest.raises(UserError, match="WordLevel, not WordPiece"):
        ids_graph(tmp_path, LENGTH)


def test_a_tokenizer_that_keeps_control_characters_is_refused(tmp_path: Path) -> None:
    own = Tokenizer(models.WordPiece({piece: number for number, piece in enumerate(PIECES)}, unk_token="[UNK]"))
    own.normalizer, own.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.BertPreTokenizer()
    own.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    PreTrainedTokenizerFast(
        tokenizer_object=own, unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]", pad_token="[PAD]"
    ).save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"keeps the character U\+0000"):
        ids_graph(tmp_path, LENGTH)
