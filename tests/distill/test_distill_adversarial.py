"""Moved words: how far and where to, that every kind of teacher has them, and that a recipe may ask for them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from stock_models import MODELS, write_stock

from distill.batches import Batch
from distill.lesson import Lesson
from distill.parts import parts_of
from distill.recipe import Term
from distill.recipe_file import RECIPES
from distill.stock_teachers import stock_with_head
from students.model import build_student
from students.spec import Head, uniform_spec

SPEC = uniform_spec(2, 16, 2, 32, vocabulary_size=30, maximum_positions=20, head=Head("classification", 3))
IDS = torch.randint(5, 30, (3, 7), generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 2, 1])


def batch_of(short: bool = False) -> Batch:
    mask = torch.ones_like(IDS)
    if short:
        mask[1, 4:] = 0
    return {"input_ids": IDS, "attention_mask": mask, "token_type_ids": torch.zeros_like(IDS), "labels": LABELS,
            "share_done": torch.tensor(0.0)}  # fmt: skip


def lesson_of(model: Any, distance: float) -> Lesson:
    lesson = Lesson(model, (Term("labels"),))
    lesson.prepare(replace(RECIPES["labels"].optimization, adversarial=distance))
    return lesson


def learnt(lesson: Lesson, batch: Batch) -> list[float]:
    """Losses of the passes over a batch, each gone backwards."""
    losses = []
    for given, _ in lesson.passes(batch):
        loss = lesson(**given)["loss"]
        loss.backward()
        losses.append(loss.item())
    return losses


def test_every_text_is_moved_by_the_distance_and_padding_is_not() -> None:
    model, seen = build_student(SPEC, 0), []
    norm, batch = model.base_model.embeddings.norm, batch_of(short=True)
    handle = norm.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].detach()))
    learnt(lesson_of(model, 0.7), batch)
    handle.remove()
    still, moved = seen
    lengths = model.base_model.get_input_embeddings()(IDS).norm(dim=-1)
    real = batch["attention_mask"].sum(1)
    wanted = [0.7 * one[: int(count)].mean().item() for one, count in zip(lengths, real, strict=True)]
    assert (moved - still).flatten(1).norm(dim=1).tolist() == pytest.approx(wanted, rel=1e-4)
    assert (moved - still)[1, 4:].abs().max() == 0
    assert not model.base_model.embeddings.word._forward_hooks, "no hook is left"


def test_halves_of_both_losses_and_the_second_is_greater() -> None:
    model = build_student(SPEC, 0)
    (plain,) = learnt(lesson_of(model, 0.0), batch_of())
    gains = []
    for distance in (0.05, 0.1):
        still, moved = learnt(lesson_of(model, distance), batch_of())
        assert still == pytest.approx(plain / 2, rel=1e-5)
        gains.append(moved - still)
    # Near by the loss is a plane, so that it grows in proportion to the distance.
    assert gains[0] > 0 and gains[1] == pytest.approx(2 * gains[0], rel=0.1)


def test_parts_of_a_batch_move_its_words_as_the_whole_does() -> None:
    """Words are moved text by text, so that no text's way depends on what it is learnt with."""
    gradients = []
    for count, distance in ((1, 3.0), (3, 3.0), (1, 0.0)):
        model = build_student(SPEC, 0)
        lesson = lesson_of(model, distance)
        for part in parts_of(lesson, batch_of(short=True), count):
            learnt(lesson, part)
        found = [weight.grad.flatten() for weight in model.parameters() if weight.grad is not None]
        gradients.append(torch.cat(found))
    whole, parts, still = gradients
    # Matrix products may be in bf16.
    assert float((whole - parts).norm()) < 0.02 * float(whole.norm()) < 0.1 * float((whole - still).norm())


@pytest.mark.parametrize("kind", sorted(set(MODELS) - {"llama"}))
def test_stock_teachers_can_have_their_words_moved(kind: str, tmp_path: Path) -> None:
    folder = write_stock(kind, tmp_path, tuple(f"w{number}" for number in range(25)))
    model, _ = stock_with_head(folder, Head("classification", 3), ("a", "b", "c"), 0)
    still, moved = learnt(lesson_of(model.eval(), 0.5), batch_of())
    assert moved > still
    assert all(weight.grad is None or weight.grad.isfinite().all() for weight in model.parameters())
