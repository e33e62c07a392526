"""Contract of every extractor: what it takes out is what stock BERT computes inside."""

from pathlib import Path

import pytest
import torch
from transformers import BertModel

from distill.batches import Batch
from distill.checkpoints import load_tokenizer
from distill.encoding import encode
from distill.examples import Task
from distill.features import EXTRACTORS, extract, split_heads
from distill.kinds import KINDS
from students.bert import load_model
from students.headed import UNLABELLED
from students.model import StudentConfig, build_student
from students.spec import Head, uniform_spec

ALL = frozenset({"hidden_states", "attention_scores", "queries", "keys", "values"})


@pytest.fixture
def batch(bert_folder: Path, task: Task) -> Batch:
    return encode(load_tokenizer(bert_folder), task.validation, 20).batch([0, 3, 5, 7])


def test_there_is_one_for_our_own_models() -> None:
    assert EXTRACTORS.names()[0] == StudentConfig.model_type


def test_features_are_stock_berts(bert_folder: Path, batch: Batch) -> None:
    stock = BertModel.from_pretrained(bert_folder, attn_implementation="eager").eval()
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask", "token_type_ids")}
    wanted = stock(**inputs, output_hidden_states=True, output_attentions=True)
    seen = extract(load_model(bert_folder, Head("classification", 2)), batch, ALL)
    assert len(seen.hidden_states) == 3 and len(seen.attention_scores) == len(seen.queries) == 2
    for ours, theirs in zip(seen.hidden_states, wanted.hidden_states, strict=True):
        assert torch.allclose(ours[seen.mask], theirs[seen.mask], atol=1e-5)
    for scores, attention in zip(seen.attention_scores, wanted.attentions, strict=True):
        ours = scores.masked_fill(~seen.mask[:, None, None, :], -1e9).softmax(-1)
        rows = seen.mask[:, None, :, None].expand_as(ours)
        assert torch.allclose(ours[rows], attention[rows], atol=1e-5)
    layer = stock.encoder.layer[1].attention.self
    for name in ("query", "key", "value"):
        part = getattr(seen, {"query": "queries", "key": "keys", "value": "values"}[name])[1]
        assert torch.allclose(part, getattr(layer, name)(wanted.hidden_states[1]), atol=1e-5)


@pytest.mark.parametrize("wants", [frozenset(), frozenset({"keys"}), frozenset({"hidden_states", "values"})])
def test_only_what_is_asked_for_is_kept(wants: frozenset[str], bert_folder: Path, batch: Batch) -> None:
    model = load_model(bert_folder, Head("classification", 2))
    seen = extract(model, batch, wants)
    for name in ALL:
        assert bool(getattr(seen, name)) == (name in wants)
    assert seen.logits.shape == (4, 2)
    assert not any(module._forward_hooks for module in model.modules())


def test_heads_are_split_as_bert_does() -> None:
    parts = split_heads(torch.arange(24.0).view(1, 2, 12), 3)
    assert parts.shape == (1, 3, 2, 4)
    assert parts[0, 1, 0].tolist() == [4, 5, 6, 7]


def test_hidden_words_alone_are_scored(batch: Batch) -> None:
    spec = uniform_spec(1, 16, 2, 32, vocabulary_size=60, maximum_positions=16, head=Head("masked-lm"))
    student = build_student(spec)
    asked = torch.zeros_like(batch["attention_mask"], dtype=torch.bool)
    asked[:, 1] = asked[0, 2] = True
    labels = torch.where(asked, batch["input_ids"], UNLABELLED)
    masked = {**batch, "labels": labels}
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask", "token_type_ids")}
    with torch.no_grad():
        few, all_of_them = extract(student, masked, frozenset()).logits, student(**inputs).logits
        loss = student(**inputs, labels=labels, asked=asked).loss
        assert torch.allclose(loss, student(**inputs, labels=labels).loss, atol=1e-5)
    assert few.shape == (int(asked.sum()), 60)
    assert torch.allclose(few, all_of_them[asked], atol=1e-5)
    rows, wanted = KINDS["masked-lm"].rows(few, labels, batch["attention_mask"].bool())
    assert torch.equal(rows, few) and torch.equal(wanted, batch["input_ids"][asked])
