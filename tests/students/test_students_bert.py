"""Stock BERT both ways, on tiny random models and, where its weights can be had, on the real all-MiniLM-L6-v2."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModel,
    AutoModelForSequenceClassification,
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    BertModel,
    DistilBertConfig,
    DistilBertModel,
)

from runs.errors import UserError
from students.bert import bert_config, bert_from_student, load_model, spec_of_bert, student_from_bert
from students.model import StudentForSequenceClassification, StudentModel, build_student
from students.spec import Head, TransformerLayer, uniform_spec


def tiny(**changes: Any) -> BertConfig:
    sizes = dict(vocab_size=60, hidden_size=24, num_hidden_layers=3, num_attention_heads=4, intermediate_size=40)
    return BertConfig(**{**sizes, "max_position_embeddings": 20, "initializer_range": 0.3, **changes})


def texts(vocabulary: int = 60) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    mask = torch.ones(4, 9, dtype=torch.long)
    mask[1, 5:] = mask[3, 2:] = 0
    return {
        "input_ids": torch.randint(vocabulary, (4, 9), generator=generator),
        "token_type_ids": torch.randint(2, (4, 9), generator=generator),
        "attention_mask": mask,
    }


def shaken(model: Any) -> Any:
    """Random biases and norms too, which a fresh model leaves at 0 and 1."""
    generator = torch.Generator().manual_seed(11)
    for weight in model.parameters():
        weight.data += 0.2 * torch.randn(weight.shape, generator=generator)
    return model.eval()


@pytest.mark.parametrize("activation", ["gelu", "relu", "silu"])
@pytest.mark.parametrize("labels", [1, 2, 5])
def test_classifier_becomes_a_student(tmp_path: Path, activation: str, labels: int) -> None:
    bert = shaken(BertForSequenceClassification(tiny(hidden_act=activation, num_labels=labels)))
    bert.config.id2label = {n: f"label {n}" for n in range(labels)}
    bert.save_pretrained(tmp_path)
    student = load_model(tmp_path)
    assert isinstance(student, StudentForSequenceClassification)
    assert not student.training
    assert student.config.id2label == bert.config.id2label
    assert student.config.dropout == bert.config.hidden_dropout_prob
    with torch.inference_mode():
        expected, found = (m(**texts(), output_hidden_states=True) for m in (bert, student))
    assert torch.allclose(found.logits, expected.logits, atol=1e-5)
    for ours, theirs in zip(found.hidden_states, expected.hidden_states, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-5)


def test_encoder_takes_a_head(tmp_path: Path) -> None:
    bert = shaken(BertModel(tiny()))
    bert.save_pretrained(tmp_path)
    bare, headed = load_model(tmp_path), load_model(tmp_path, Head("classification", 3))
    assert isinstance(bare, StudentModel)
    assert isinstance(headed, StudentForSequenceClassification)
    with torch.inference_mode():
        expected = bert(**texts())
        assert torch.allclose(bare(**texts()).last_hidden_state, expected.last_hidden_state, atol=1e-5)
        pooled = torch.tanh(headed.head.pooler(headed.student(**texts()).last_hidden_state[:, 0]))
    assert torch.allclose(pooled, expected.pooler_output, atol=1e-5)


def test_masked_lm_gives_its_encoder(tmp_path: Path) -> None:
    bert = shaken(BertForMaskedLM(tiny()))
    bert.save_pretrained(tmp_path)
    with torch.inference_mode():
        found = load_model(tmp_path, Head("none"))(**texts()).last_hidden_state
        assert torch.allclose(found, bert.bert(**texts()).last_hidden_state, atol=1e-5)


@pytest.mark.parametrize("head", [Head("none"), Head("classification", 4), Head("regression", 1)])
def test_student_becomes_stock_bert(tmp_path: Path, head: Head) -> None:
    spec = uniform_spec(2, 24, 3, 50, vocabulary_size=60, maximum_positions=20, head=head)
    student = shaken(build_student(spec))
    bert_from_student(student).save_pretrained(tmp_path)
    stock = (AutoModel if head.kind == "none" else AutoModelForSequenceClassification).from_pretrained(tmp_path)
    assert type(stock).__module__.startswith("transformers.")
    with torch.inference_mode():
        expected, found = student(**texts())[0], stock(**texts())[0]
    assert torch.allclose(found, expected, atol=1e-5)
    again = load_model(tmp_path, head)
    assert again.config.spec_object == spec
    with torch.inference_mode():
        assert torch.allclose(again(**texts())[0], expected, atol=1e-5)


def test_what_bert_cannot_say() -> None:
    plain = uniform_spec(2, 24, 3, 50)
    config = bert_config(plain)
    assert config is not None
    assert spec_of_bert(config, plain.head) == plain
    for other in (
        replace(plain, embedding_width=16),
        replace(plain, layers=(*plain.layers, TransformerLayer(3, 24, 51))),
        uniform_spec(2, 24, 3, 50, qkv_width=48),
    ):
        assert bert_config(other) is None
        with pytest.raises(UserError, match="stock BERT cannot"):
            bert_from_student(build_student(replace(other, vocabulary_size=60)))


@pytest.mark.parametrize(
    "changes", [{"hidden_act": "gelu_new"}, {"layer_norm_eps": 1e-5}, {"is_decoder": True}], ids=lambda c: next(iter(c))
)
def test_unsupported_settings_are_named(changes: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=next(iter(changes))):
        student_from_bert(BertModel(tiny(**changes)))


def test_folders_that_are_no_model(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        load_model(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"no config\.json"):
        load_model(tmp_path)
    DistilBertModel(DistilBertConfig(vocab_size=10, dim=8, n_layers=1, n_heads=1, hidden_dim=8)).save_pretrained(
        tmp_path / "other"
    )
    with pytest.raises(UserError, match="distilbert"):
        load_model(tmp_path / "other")
    (tmp_path / "config.json").write_text(json.dumps(tiny().to_dict()))
    with pytest.raises(UserError, match="cannot be read"):
        load_model(tmp_path)
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(UserError, match="None"):
        load_model(tmp_path)
