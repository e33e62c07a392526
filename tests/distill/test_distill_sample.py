"""Candidates that are language models are judged on some of the validation texts, evenly taken; others on all."""

from pathlib import Path

import numpy as np
import pytest
from tiny_rooms import tiny_room

import distill.classroom
from distill.evaluation import answer


@pytest.mark.parametrize(("kind", "words"), [("causal-lm", 100), ("masked-lm", 15)])
def test_of_many_texts_some_are_taken(
    kind: str, words: int, bert_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distill.classroom, "SAMPLE_WORDS", words)
    room = tiny_room(kind, bert_folder, tmp_path, monkeypatch)
    assert 1 < len(room.sample) < len(room.validation) and 80 <= len(room.sample.ids) <= 200
    assert np.array_equal(room.sample.batch([0])["input_ids"], room.validation.batch([0])["input_ids"])
    score, divergence = room.judge_candidate(room.model)
    own = answer(room.model, room.sample, kind, prepare=room.masking)
    assert divergence == pytest.approx(0.0, abs=2e-3)
    assert score == pytest.approx(float(np.exp(own.mean())), rel=5e-3)
    assert score != pytest.approx(room.judge(np.asarray(room.validation_logits))[0][room.task.metric], rel=1e-6)


@pytest.mark.parametrize(("kind", "words"), [("causal-lm", 10**6), ("classification", 1)])
def test_of_few_texts_and_of_other_tasks_all_are(
    kind: str, words: int, bert_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distill.classroom, "SAMPLE_WORDS", words)
    room = tiny_room(kind, bert_folder, tmp_path, monkeypatch)
    assert room.sample is room.validation and room.sample_logits is room.validation_logits
    scores, divergence = room.judge(answer(room.model, room.validation, kind))
    assert room.judge_candidate(room.model) == pytest.approx((scores[room.task.metric], divergence), abs=2e-3)
