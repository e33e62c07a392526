"""Moved words: how far and where to, that every kind of teacher has them, and that a recipe may ask for them."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from stock_models import MODELS, write_stock
from torch import Tensor

from distill.adversarial import adversarial_loss
from distill.brief import train_briefly
from distill.classroom import classroom
from distill.course import begun
from distill.distillation import distil
from distill.examples import Task
from distill.recipe_file import RECIPES
from distill.stock_teachers import stock_with_head
from distill.teachers import Teacher
from runs.errors import UserError
from students.bert import load_model
from students.model import build_student
from students.spec import Head, TransformerLayer, uniform_spec

SPEC = uniform_spec(2, 16, 2, 32, vocabulary_size=30, maximum_positions=20, head=Head("classification", 3))
IDS = torch.randint(5, 30, (3, 7), generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 2, 1])


def cross_entropy(model: object, ids: Tensor, mask: Tensor) -> Tensor:
    return torch.nn.functional.cross_entropy(model(input_ids=ids, attention_mask=mask).logits, LABELS)  # type: ignore[operator]


def test_every_text_is_moved_by_the_distance_and_padding_is_not() -> None:
    model, seen = build_student(SPEC, 0), []
    mask = torch.ones_like(IDS)
    mask[1, 4:] = 0
    handle = model.base_model.embeddings.norm.register_forward_hook(
        lambda module, inputs, output: seen.append(inputs[0])
    )
    adversarial_loss(model, lambda: cross_entropy(model, IDS, mask), mask, 0.7)
    handle.remove()
    moved = seen[1] - seen[0]
    lengths = model.base_model.get_input_embeddings()(IDS).norm(dim=-1)
    wanted = [0.7 * one[: int(real)].mean().item() for one, real in zip(lengths, mask.sum(1), strict=True)]
    assert moved.flatten(1).norm(dim=1).tolist() == pytest.approx(wanted, rel=1e-4)
    assert moved[1, 4:].abs().max() == 0
    model(IDS, mask)
    assert len(seen) == 2 and not model.base_model.embeddings.word._forward_hooks, "no hook is left"


def test_the_loss_is_the_mean_of_both_and_the_second_is_greater() -> None:
    model, mask = build_student(SPEC, 0), torch.ones_like(IDS)
    plain = cross_entropy(model, IDS, mask).item()
    losses = [
        adversarial_loss(model, lambda: cross_entropy(model, IDS, mask), mask, far).item() for far in (0.0, 0.05, 0.1)
    ]
    assert losses[0] == pytest.approx(plain, rel=1e-5)
    # Near by the loss is a plane, so that it grows in proportion to the distance.
    assert losses[1] > plain and losses[2] - plain == pytest.approx(2 * (losses[1] - plain), rel=0.1)


@pytest.mark.parametrize("kind", sorted(set(MODELS) - {"llama"}))
def test_stock_teachers_can_have_their_words_moved(kind: str, tmp_path: Path) -> None:
    folder = write_stock(kind, tmp_path, tuple(f"w{number}" for number in range(25)))
    model, _ = stock_with_head(folder, Head("classification", 3), ("a", "b", "c"), 0)
    mask = torch.ones_like(IDS)
    plain = cross_entropy(model, IDS, mask).item()
    loss = adversarial_loss(model.eval(), lambda: cross_entropy(model, IDS, mask), mask, 0.5)
    loss.backward()
    assert loss.item() > plain
    assert all(weight.grad is None or weight.grad.isfinite().all() for weight in model.parameters())


def test_long_and_short_runs_learn_from_moved_words_alike(teacher: Teacher, task: Task, tmp_path: Path) -> None:
    own = teacher.model().config.spec_object
    spec = replace(own, embedding_width=16, hidden_width=16, layers=(TransformerLayer(2, 16, 24),))
    found = {}
    for distance in (0.0, 0.5):
        settings = replace(RECIPES["labels"].optimization, adversarial=distance, minimum_steps=20, epochs=1e-9)
        recipe = replace(RECIPES["labels"], optimization=settings)
        with begun(classroom(teacher, task), spec, recipe, 0) as run:
            train_briefly(run.lesson, run.batches, settings)
        short = torch.cat([weight.detach().flatten() for weight in run.lesson.student.parameters()])
        done = distil(spec, teacher, task, recipe, tmp_path / str(distance))
        found[distance] = torch.cat([weight.detach().flatten() for weight in load_model(done.folder).parameters()])
        assert torch.allclose(short, found[distance], atol=1e-6)
    assert float((found[0.5] - found[0.0]).norm()) > 1e-3


def test_a_run_that_leaves_the_numbers_is_ended(teacher: Teacher, task: Task, tmp_path: Path) -> None:
    settings = replace(RECIPES["labels"].optimization, learning_rate=1e30, minimum_steps=20, epochs=1e-9)
    recipe = replace(RECIPES["labels"], optimization=settings)
    spec = teacher.model().config.spec_object
    with pytest.raises(UserError, match="choose a recipe with a smaller learning_rate"):
        distil(spec, teacher, task, recipe, tmp_path / "long")
    with (
        begun(classroom(teacher, task), spec, recipe, 0) as run,
        pytest.raises(UserError, match="the loss was (nan|inf)"),
    ):
        train_briefly(run.lesson, run.batches, settings)
