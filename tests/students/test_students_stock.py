"""Stock checkpoints by their config alone: the spec has as many weights as the model made of it."""

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import (
    CONFIG_MAPPING,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForMultipleChoice,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
)

from runs.errors import UserError
from students.model import build_student
from students.spec import Head, TransformerLayer, uniform_spec
from students.stock import FAMILIES, checkpoint_outline

SIZES = dict(vocab_size=60, max_position_embeddings=20)
USUAL = dict(hidden_size=24, num_hidden_layers=4, num_attention_heads=3, intermediate_size=40, type_vocab_size=2)
OWN: dict[str, dict[str, Any]] = {
    "electra": dict(USUAL, embedding_size=16),
    "albert": dict(USUAL, embedding_size=16, hidden_act="gelu", num_hidden_groups=2),
    "distilbert": dict(dim=24, n_layers=4, n_heads=3, hidden_dim=40),
    "mpnet": {name: value for name, value in USUAL.items() if name != "type_vocab_size"},
}
WITHOUT_TYPES = ("distilbert", "mpnet")
CLASSES = {
    "none": AutoModel,
    "classification": AutoModelForSequenceClassification,
    "tokens": AutoModelForTokenClassification,
    "spans": AutoModelForQuestionAnswering,
    "masked-lm": AutoModelForMaskedLM,
}


def saved(folder: Path, kind: str, loader: Any, **changes: Any) -> Any:
    """A tiny random model of this type; its config, and nothing else, in the folder."""
    config = CONFIG_MAPPING[kind](**{**SIZES, **OWN.get(kind, USUAL), **changes})
    model = loader.from_config(config)
    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(folder)
    return model


def written(folder: Path, **changes: Any) -> Path:
    """A BERT's config.json with these changes; None takes a setting out."""
    settings = {"model_type": "bert", "architectures": ["BertModel"], **SIZES, **USUAL, **changes}
    kept = {name: value for name, value in settings.items() if value is not None}
    (folder / "config.json").write_text(json.dumps(kept))
    return folder


@pytest.mark.parametrize("head", CLASSES)
@pytest.mark.parametrize("kind", FAMILIES.names())
def test_as_many_weights_as_the_stock_model(tmp_path: Path, kind: str, head: str) -> None:
    model = saved(tmp_path, kind, CLASSES[head], num_labels=2 if head == "spans" else 3)
    outline = checkpoint_outline(tmp_path)
    left_out = ("relative_attention_bias", *(["pooler"] if head == "none" else []))
    own = sum(weight.numel() for name, weight in model.named_parameters() if not any(part in name for part in left_out))
    assert outline.spec.head.kind == head
    assert outline.spec.parameters() == own + 24 * (kind in WITHOUT_TYPES)
    first = outline.spec.layers[0]
    assert len(outline.spec.layers) == 4 and first == TransformerLayer(3, 24, 40)
    assert outline.spec.embedding_width == (16 if kind in ("electra", "albert") else 24)
    assert any("relative positions" in note for note in outline.notes) == (kind == "mpnet")
    assert any("first token alone" in note for note in outline.notes) == (head == "classification")


def test_heads_by_the_class_that_was_saved(tmp_path: Path) -> None:
    assert checkpoint_outline(written(tmp_path, architectures=None)).spec.head.kind == "none"
    saved(tmp_path, "bert", AutoModelForCausalLM, is_decoder=True)
    assert checkpoint_outline(tmp_path).spec.head.kind == "causal-lm"
    saved(tmp_path, "roberta", AutoModelForSequenceClassification, num_labels=1)
    assert checkpoint_outline(tmp_path).spec.head == Head("regression", 1)
    saved(tmp_path, "bert", AutoModelForMultipleChoice)
    other = checkpoint_outline(tmp_path)
    assert other.spec.head.kind == "none"
    assert other.notes == ("the head of its class BertForMultipleChoice is left out",)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (dict(hidden_act="gelu_new"), "its activation gelu_new is taken for gelu"),
        (dict(position_embedding_type="relative_key"), "its relative positions are left out"),
        (dict(architectures=["BertForMaskedLM"], tie_word_embeddings=False), "its output words have weights of"),
    ],
)
def test_what_a_spec_cannot_say_is_said_in_words(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    assert checkpoint_outline(written(tmp_path)).notes == ()
    (note,) = checkpoint_outline(written(tmp_path, **changes)).notes
    assert note.startswith(said)


def test_a_student_of_ours_is_its_spec(tmp_path: Path) -> None:
    spec = uniform_spec(2, 24, 3, 40, vocabulary_size=60, maximum_positions=20)
    build_student(spec).config.save_pretrained(tmp_path)
    assert checkpoint_outline(tmp_path).spec == spec


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (dict(model_type="deberta-v2"), "a model of type 'deberta-v2'"),
        (dict(model_type=None), "a model of type 'None'"),
        (dict(hidden_size=None), "hidden_size is None"),
        (dict(hidden_size="wide"), "hidden_size is 'wide'"),
        (dict(num_hidden_layers=0), "num_hidden_layers is 0"),
        (dict(hidden_size=25), "qkv_width 25 does not divide into 3 heads"),
        (dict(hidden_act="mish"), "activation 'mish'"),
        (dict(add_cross_attention=True), "add_cross_attention"),
        (dict(model_type="albert", embedding_size=16, num_hidden_groups=5), "num_hidden_groups is 5"),
        (dict(model_type="albert", embedding_size=16, inner_group_num=2), "inner_group_num"),
        (dict(model_type="tailorbird-student"), "not a student spec"),
    ],
)
def test_configs_that_cannot_be_read_say_why(tmp_path: Path, changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        checkpoint_outline(written(tmp_path, **changes))


def test_folders_without_a_readable_config(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no config.json"):
        checkpoint_outline(tmp_path)
    for text in ("{", "[1, 2]"):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(UserError):
            checkpoint_outline(tmp_path)
