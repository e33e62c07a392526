"""Stock BERT with every head: its folders become students and students become its folders, with the same outputs."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import BertConfig, BertForMaskedLM, BertForNextSentencePrediction, BertForPreTraining, BertModel

from runs.errors import UserError
from students.bert import bert_config, bert_from_student, load_model, student_from_bert
from students.bert_heads import BERT_HEADS
from students.model import StudentForMaskedLM, StudentModel, build_student
from students.spec import Head, HeadKind, uniform_spec

KINDS: tuple[HeadKind, ...] = ("tokens", "spans", "masked-lm", "causal-lm")


def tiny(kind: str = "none", **changes: Any) -> BertConfig:
    sizes = dict(vocab_size=60, hidden_size=24, num_hidden_layers=2, num_attention_heads=4, intermediate_size=40)
    decoder = {"is_decoder": True} if kind == "causal-lm" else {}
    labels = {"id2label": {0: "name", 1: "place", 2: "other"}} if kind == "tokens" else {}
    return BertConfig(**{**sizes, "max_position_embeddings": 20, **decoder, **labels, **changes})


def shaken(model: Any) -> Any:
    generator = torch.Generator().manual_seed(11)
    for weight in model.parameters():
        weight.data += 0.2 * torch.randn(weight.shape, generator=generator)
    return model.eval()


def texts() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(3)
    mask = torch.ones(4, 9, dtype=torch.long)
    mask[1, 5:] = mask[3, 2:] = 0
    ids, types = (torch.randint(most, (4, 9), generator=generator) for most in (60, 2))
    return {"input_ids": ids, "token_type_ids": types, "attention_mask": mask}


def real_answers(model: Any) -> list[Tensor]:
    """Every answer at the real tokens; a causal BERT numbers padding otherwise than we do."""
    with torch.inference_mode():
        found = [value for value in model(**texts(), return_dict=True).values() if torch.is_tensor(value)]
    return [value[texts()["attention_mask"].bool()] for value in found]


def ours(student: Any) -> list[Tensor]:
    with torch.inference_mode():
        found = [value for value in student(**texts()).values() if torch.is_tensor(value)]
    return [value[texts()["attention_mask"].bool()] for value in found]


def assert_same(one: list[Tensor], other: list[Tensor]) -> None:
    for mine, theirs in zip(one, other, strict=True):
        assert torch.allclose(mine, theirs, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
class TestEveryHead:
    def test_a_stock_folder_becomes_a_student(self, kind: HeadKind, tmp_path: Path) -> None:
        bert = shaken(BERT_HEADS[kind].model(tiny(kind)))
        bert.save_pretrained(tmp_path)
        student = load_model(tmp_path)
        assert student.config.spec_object.head == Head(kind, 3 if kind == "tokens" else 2)
        assert_same(ours(student), real_answers(bert))
        if kind == "tokens":
            assert student.config.id2label == {0: "name", 1: "place", 2: "other"}

    def test_a_student_becomes_a_stock_folder(self, kind: HeadKind, tmp_path: Path) -> None:
        head = Head(kind, 3 if kind == "tokens" else 2)
        spec = uniform_spec(2, 24, 3, 50, vocabulary_size=60, maximum_positions=20, head=head)
        names = ("name", "place", "other") if kind == "tokens" else None
        student = shaken(build_student(spec, label_names=names))
        bert_from_student(student).save_pretrained(tmp_path)
        stock, loading = BERT_HEADS[kind].model.from_pretrained(tmp_path, output_loading_info=True)
        assert not loading["missing_keys"] and not loading["unexpected_keys"]
        assert_same(ours(student), real_answers(stock))
        again = load_model(tmp_path)
        assert again.config.spec_object == spec
        assert again.config.id2label == student.config.id2label
        assert_same(ours(again), ours(student))

    def test_another_head_takes_the_encoder(self, kind: HeadKind, tmp_path: Path) -> None:
        bert = shaken(BERT_HEADS[kind].model(tiny(kind)))
        bert.save_pretrained(tmp_path)
        if kind == "causal-lm":
            with pytest.raises(UserError, match="is_decoder"):
                load_model(tmp_path, Head("none"))
            return
        student = load_model(tmp_path, Head("none"))
        assert isinstance(student, StudentModel)
        with torch.inference_mode():
            expected = bert.bert(**texts()).last_hidden_state
            assert torch.allclose(student(**texts()).last_hidden_state, expected, atol=1e-5)
        classifier = load_model(tmp_path, Head("classification", 4))
        assert classifier(**texts()).logits.shape == (4, 4)


def test_a_pretrained_bert_brings_its_pooler_to_a_classifier(tmp_path: Path) -> None:
    bert = shaken(BertForPreTraining(tiny()))
    bert.save_pretrained(tmp_path)
    config = tmp_path / "config.json"
    config.write_text(config.read_text().replace("BertForPreTraining", "BertForMaskedLM"))
    classifier = load_model(tmp_path, Head("classification", 2))
    assert torch.equal(classifier.head.pooler.weight, bert.bert.pooler.dense.weight)
    assert isinstance(load_model(tmp_path), StudentForMaskedLM)


def test_a_masked_language_model_becomes_causal_with_its_own_words() -> None:
    bert = shaken(BertForMaskedLM(tiny()))
    causal = student_from_bert(bert, Head("causal-lm"))
    assert torch.equal(causal.head.bias, bert.cls.predictions.bias)
    assert torch.equal(causal.head.transform.weight, bert.cls.predictions.transform.dense.weight)


def test_a_head_that_students_lack_gives_the_encoder(tmp_path: Path) -> None:
    bert = shaken(BertForNextSentencePrediction(tiny()))
    bert.save_pretrained(tmp_path)
    assert isinstance(load_model(tmp_path), StudentModel)


@pytest.mark.parametrize(
    "changes", [{"hidden_act": "relu"}, {"tie_word_embeddings": False}], ids=lambda c: next(iter(c))
)
def test_what_a_language_head_cannot_be_is_named(changes: dict[str, Any], tmp_path: Path) -> None:
    bert = BertForMaskedLM(tiny(**changes))
    bert.save_pretrained(tmp_path)
    with pytest.raises(UserError, match=next(iter(changes))):
        load_model(tmp_path)
    assert isinstance(load_model(tmp_path, Head("none")), StudentModel)
    assert isinstance(student_from_bert(BertModel(tiny(**changes))), StudentModel)


def test_stock_bert_cannot_say_a_language_head_under_another_activation() -> None:
    spec = uniform_spec(2, 24, 3, 50, activation="relu", vocabulary_size=60, head=Head("masked-lm"))
    assert bert_config(spec) is None
    assert (
        bert_config(uniform_spec(2, 24, 3, 50, activation="relu", vocabulary_size=60, head=Head("spans"))) is not None
    )
