"""Copies of stock encoders as students answer alike where our form can say all, and lack nothing but a bias."""

from pathlib import Path
from typing import Any

import pytest
import stock_models
import torch
from torch import Tensor, nn
from transformers import (
    DistilBertForMaskedLM,
    DistilBertForTokenClassification,
    ElectraForMaskedLM,
    ElectraForQuestionAnswering,
    MPNetForMaskedLM,
    MPNetForSequenceClassification,
    RobertaForMaskedLM,
    RobertaForQuestionAnswering,
    RobertaForSequenceClassification,
    RobertaForTokenClassification,
)

from runs.errors import UserError
from students.heads import Head, HeadKind
from students.stock_encoders import STOCK_ENCODERS, first_position, student_form

WORDS = tuple("abcdefgh")
PADDING = 1

MADE: list[tuple[str, Any, HeadKind]] = [
    ("roberta", RobertaForSequenceClassification, "classification"),
    ("roberta", RobertaForTokenClassification, "tokens"),
    ("roberta", RobertaForQuestionAnswering, "spans"),
    ("roberta", RobertaForMaskedLM, "masked-lm"),
    ("mpnet", MPNetForSequenceClassification, "classification"),
    ("mpnet", MPNetForMaskedLM, "masked-lm"),
    ("electra", ElectraForQuestionAnswering, "spans"),
    ("electra", ElectraForMaskedLM, "masked-lm"),
    ("distilbert", DistilBertForTokenClassification, "tokens"),
    ("distilbert", DistilBertForMaskedLM, "masked-lm"),
]


def texts() -> tuple[Tensor, Tensor]:
    """Ids of three texts of different lengths, padded on the right, and their mask."""
    ids = torch.randint(5, 13, (3, 9), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)
    mask[1, 6:] = mask[2, 4:] = 0
    return ids.masked_fill(mask == 0, PADDING), mask


def answers(model: nn.Module, **inputs: Tensor) -> Tensor:
    """Logits [3, 2] of texts, [3, 9, n] of tokens."""
    with torch.no_grad():
        output = model(**inputs)
    if "start_logits" in output:
        return torch.stack((output.start_logits, output.end_logits), -1)
    found: Tensor = output.logits
    return found


@pytest.mark.parametrize(("kind", "model_class", "head"), MADE)
def test_copies_answer_alike(kind: str, model_class: Any, head: HeadKind, tmp_path: Path) -> None:
    folder = stock_models.write_stock(kind, tmp_path / kind, WORDS, model_class)
    model = model_class.from_pretrained(folder, dtype=torch.float32).eval()
    if kind == "mpnet":
        # All that the copy lacks.
        nn.init.zeros_(model.base_model.encoder.relative_attention_bias.weight)
    ids, mask = texts()
    copy = student_form(model, Head(head, 2), 2, 40)
    theirs = answers(model, input_ids=ids, attention_mask=mask)
    for types in ({}, {"token_type_ids": (ids > 8).long()} if kind != "electra" else {}):
        ours = answers(copy, input_ids=ids, attention_mask=mask, **types)
        rows = mask.bool() if ours.dim() == 3 else slice(None)
        assert torch.allclose(ours[rows], theirs[rows], atol=1e-4)
    if head == "masked-lm":
        assert ours.std() > 0.1


def test_a_bias_for_distances_is_what_is_missing(tmp_path: Path) -> None:
    folder = stock_models.write_stock("mpnet", tmp_path / "mpnet", WORDS, MPNetForSequenceClassification)
    model = MPNetForSequenceClassification.from_pretrained(folder).eval()
    ids, mask = texts()
    theirs = answers(model, input_ids=ids, attention_mask=mask)
    ours = answers(student_form(model, Head("classification", 2), 1, 40), input_ids=ids, attention_mask=mask)
    assert not torch.allclose(ours, theirs, atol=1e-3)


def test_positions_begin_behind_paddings_own(tmp_path: Path) -> None:
    starts = {}
    for kind in STOCK_ENCODERS:
        if kind in stock_models.MODELS:
            stock, config, sizes = stock_models.MODELS[kind]
            with torch.device("meta"):
                starts[kind] = first_position(stock(config(**{**sizes, "pad_token_id": 1})))
    assert starts == {"roberta": 2, "electra": 0, "mpnet": 2, "distilbert": 0}


def test_what_no_student_can_have_is_said(tmp_path: Path) -> None:
    _, config, sizes = stock_models.MODELS["roberta"]
    model = RobertaForSequenceClassification(config(vocab_size=13, **{**sizes, "hidden_act": "tanh"}))
    with pytest.raises(UserError, match="this roberta has the activation 'tanh', which a student cannot have"):
        student_form(model, Head("classification", 2), 1, 40)
