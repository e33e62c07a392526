"""What a language model made of texts that come again is not made again, and its answers are the same."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_rooms import tiny_room
from torch import Tensor
from transformers import GraniteConfig, GraniteForCausalLM

import distill.remembered
from distill.asked_words import words_before_others
from distill.batches import Batch
from distill.classroom import Classroom
from distill.features import no_gradient_features
from distill.mini import mini_distil
from distill.recipe import Optimization, Recipe, Term
from distill.remembered import Remembered

RECIPE = Recipe("tiny", (Term("logits"),), Optimization(3e-3, epochs=1, batch_size=8))
KINDS_OF_WORDS = pytest.mark.parametrize("kind", ["masked-lm", "causal-lm"])


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for each time that a model is run by what remembers."""
    asked: list[int] = []

    def counted(model: Any, batch: Batch, wants: frozenset[str]) -> Any:
        asked.append(len(batch["input_ids"]))
        return no_gradient_features(model, batch, wants)

    monkeypatch.setattr(distill.remembered, "no_gradient_features", counted)
    return asked


def a_batch(room: Classroom) -> tuple[Batch, Tensor]:
    """Texts of unlike lengths, and at which of their places a word is asked for."""
    batch = room.train.batch([0, 1, 2])
    batch = batch if room.masking is None else room.masking(batch, (0, 0))
    batch["attention_mask"][1, -2:] = 0
    if room.masking is not None:
        batch["labels"][1, -2:] = -100
    return batch, room.kind.asked(batch["labels"], batch["attention_mask"])  # type: ignore[attr-defined]


@KINDS_OF_WORDS
def test_answers_are_the_models_own_and_texts_are_told_apart(
    kind: str, bert_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runs: list[int]
) -> None:
    room = tiny_room(kind, bert_folder, tmp_path, monkeypatch)
    batch, asked = a_batch(room)
    own = room.kind.rows(no_gradient_features(room.model, batch, frozenset()).logits, batch["labels"],
                         batch["attention_mask"].bool())[0]  # fmt: skip
    kept = Remembered()
    first = kept.answers(room.model, batch, asked)
    torch.testing.assert_close(first, own, rtol=1e-4, atol=1e-5)
    assert runs == [1] * 4, "each text once, and one to see whether the last layer makes all there is"
    turned = {name: tensor.flip(0) for name, tensor in batch.items()}
    again = kept.answers(room.model, turned, asked.flip(0))
    assert len(runs) == 4, "a text is known in whatever batch it stands"
    counts = asked.sum(dim=1).tolist()
    assert all(
        torch.allclose(a, b, atol=1e-6)
        for a, b in zip(again.split(counts[::-1]), first.split(counts)[::-1], strict=True)
    )
    other = batch["input_ids"].clone()
    other[0, 0] += 1
    kept.answers(room.model, batch | {"input_ids": other}, asked)
    assert len(runs) == 5, "another word is another text"


def test_what_does_not_fit_is_made_again(
    bert_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runs: list[int]
) -> None:
    room = tiny_room("causal-lm", bert_folder, tmp_path, monkeypatch)
    batch, asked = a_batch(room)
    kept = Remembered(most_bytes=0)
    first, again = (kept.answers(room.model, batch, asked) for _ in range(2))
    assert torch.equal(first, again) and runs == [1] * 7


def test_a_model_that_scales_its_scores_afterwards_is_asked_itself() -> None:
    torch.manual_seed(0)
    model = GraniteForCausalLM(
        GraniteConfig(
            vocab_size=50,
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=2,
            logits_scaling=8.0,
        )
    ).eval()
    ids = torch.arange(24).view(3, 8)
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids}
    asked = words_before_others(batch["attention_mask"])
    with torch.no_grad():
        own = model(ids).logits[asked]
    torch.testing.assert_close(Remembered().answers(model, batch, asked), own)


@KINDS_OF_WORDS
def test_candidates_learn_the_same_and_the_teacher_answers_once(
    kind: str, bert_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runs: list[int]
) -> None:
    room = tiny_room(kind, bert_folder, tmp_path, monkeypatch)
    spec = room.model.config.spec_object

    def taught() -> tuple[float, float]:
        score = mini_distil(spec, room.teacher, room.task, RECIPE, steps=6, subset=0.5)
        return score.loss, score.kl

    first = taught()
    once = len(runs)
    assert once and taught() == first and len(runs) == once
    room.remembered = Remembered(most_bytes=0)
    assert taught() == first and len(runs) > once
