"""Answers to batches that come again are not asked for again, and are the same."""

from pathlib import Path

import pytest
import torch
from tiny_kinds import write

import distill.lesson
from distill.classroom import classroom
from distill.mini import mini_distil
from distill.recipe import Optimization, Recipe, Term
from distill.remembered import Remembered
from distill.tasks import load_task
from distill.teachers import prepare_teacher
from runs.progress import Progress

RECIPE = Recipe("tiny", (Term("logits"),), Optimization(3e-3, epochs=1, batch_size=8))


def batch(first: int) -> dict[str, torch.Tensor]:
    ids = torch.arange(first, first + 6).view(2, 3)
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids}


def test_only_what_is_new_is_asked_for() -> None:
    asked: list[int] = []

    def ask(value: int) -> torch.Tensor:
        asked.append(value)
        return torch.full((4,), float(value), requires_grad=True)

    kept = Remembered()
    found = [kept.answers(batch(n), lambda n=n: ask(n)) for n in (1, 2, 1, 2, 1)]
    assert asked == [1, 2] and [int(one[0]) for one in found] == [1, 2, 1, 2, 1]
    assert not any(one.requires_grad for one in found)
    other = batch(1) | {"labels": batch(1)["labels"] + 1}
    assert int(kept.answers(other, lambda: ask(3))[0]) == 3, "other words are asked for"


def test_what_does_not_fit_is_asked_for_again() -> None:
    kept, asked = Remembered(most_bytes=20), []
    for n in (1, 2, 1, 2):
        kept.answers(batch(n), lambda n=n: asked.append(n) or torch.zeros(4))
    assert asked == [1, 2, 2], "the first alone has its 16 bytes"


@pytest.mark.parametrize("kind", ["masked-lm", "causal-lm"])
def test_candidates_learn_the_same_and_the_teacher_answers_once(
    kind: str, bert_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TAILORBIRD_HOME", str(tmp_path / "home"))
    quiet = Progress(quiet=True)
    task = load_task(str(write(kind, tmp_path)), quiet, kind)
    training = Optimization(learning_rate=3e-3, epochs=1, minimum_steps=1)
    teacher = prepare_teacher(str(bert_folder), task, quiet, training=training)
    spec = teacher.model().config.spec_object
    honest, asked = distill.lesson.no_gradient_features, []

    def counted(*given: object) -> object:
        asked.append(1)
        return honest(*given)

    monkeypatch.setattr(distill.lesson, "no_gradient_features", counted)
    scores = [mini_distil(spec, teacher, task, RECIPE, steps=6, subset=0.5) for _ in range(3)]
    assert len(asked) == 6 and len({(score.loss, score.kl) for score in scores}) == 1
    classroom(teacher, task).remembered = Remembered(most_bytes=0)
    assert mini_distil(spec, teacher, task, RECIPE, steps=6, subset=0.5).kl == scores[0].kl and len(asked) == 12
