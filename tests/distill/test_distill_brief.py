"""Short runs end as long ones do, whatever the settings ask for, and both end where the numbers do."""

from dataclasses import replace
from math import isnan
from pathlib import Path

import numpy as np
import pytest
import torch

from distill.brief import train_briefly
from distill.classroom import classroom
from distill.course import begun
from distill.distillation import distil
from distill.evaluation import answer
from distill.examples import Task
from distill.mini import judged, mini_distil, unseen, untaught
from distill.recipe_file import RECIPES
from distill.subset import draw_subset, left_out
from distill.teachers import Teacher
from runs.errors import UserError
from students.bert import load_model
from students.spec import TransformerLayer


def test_a_long_run_and_a_short_one_end_with_the_same_weights(teacher: Teacher, task: Task, tmp_path: Path) -> None:
    own = teacher.model().config.spec_object
    spec = replace(own, embedding_width=16, hidden_width=16, layers=(TransformerLayer(2, 16, 24),))
    found = {}
    for name, asked in {"plain": {}, "average": {"average": 0.8}, "moved": {"adversarial": 0.5}}.items():
        settings = replace(RECIPES["labels"].optimization, minimum_steps=40, epochs=1e-9, **asked)
        recipe = replace(RECIPES["labels"], optimization=settings)
        with begun(classroom(teacher, task), spec, recipe, 0) as run:
            train_briefly(run.lesson, run.batches, settings)
        # Words that were left out of training come back with the end of the run.
        short = torch.cat([weight.detach().flatten() for weight in run.lesson.student.parameters()])
        done = distil(spec, teacher, task, recipe, tmp_path / name)
        found[name] = torch.cat([weight.detach().flatten() for weight in load_model(done.folder).parameters()])
        assert torch.allclose(short, found[name], atol=1e-6)
    assert all(float((found[name] - found["plain"]).norm()) > 1e-3 for name in ("average", "moved"))


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
    found = mini_distil(spec, teacher, task, recipe, steps=20)
    assert all(map(isnan, (found.loss, found.kl, found.validation_score))), "a candidate alone, not the end of a search"


def test_texts_left_out_are_judged_on_as_well(teacher: Teacher, task: Task) -> None:
    """Only those that a subset leaves out, and half as many as were learnt from, with the validation split's."""
    room, recipe = classroom(teacher, task), RECIPES["default"]
    seen = set(draw_subset(len(room.train), 0.3, 1).tolist())
    chosen = left_out(len(room.train), 0.3, 1, 20)
    assert len(chosen) == 20 and not seen & set(chosen.tolist()) and list(chosen) == sorted(set(chosen))
    assert len(left_out(len(room.train), 0.3, 1, 10**6)) == len(room.train) - len(seen)
    assert not len(left_out(len(room.train), 1.0, 1, 20)) and not len(left_out(len(room.train), 0.3, 1, -5))
    learnt = 2 * (len(room.validation) + 20)
    beside = unseen(room, 0.3, 1, learnt)
    assert beside is not None and len(beside.texts) == len(beside.logits) == 20
    for row, index in enumerate(chosen):
        one, other = beside.texts.slice(row, row + 1), room.train.slice(int(index), int(index) + 1)
        assert np.array_equal(one.ids, other.ids) and np.array_equal(one.labels, other.labels)
    assert np.array_equal(beside.logits, np.asarray(room.train_logits)[chosen])
    assert unseen(room, 0.3, 1, learnt - 40) is None and unseen(room, 1.0, 1, 10**6) is None
    spec = replace(teacher.model().config.spec_object, embedding_width=12, hidden_width=12)
    steps = -(-learnt // recipe.optimization.examples_per_step)
    found = mini_distil(spec, teacher, task, recipe, steps=steps, subset=0.3, seed=1)
    with begun(room, spec, recipe, 1, steps=steps, subset=0.3) as run:
        train_briefly(run.lesson, run.batches, recipe.optimization)
    alone = judged(room, run.lesson.student, 0.0, steps, found.loss)
    beside = unseen(room, 0.3, 1, steps * recipe.optimization.examples_per_step)
    assert beside is not None
    theirs = answer(run.lesson.student, beside.texts, task.kind, mixed=True)
    parts = (alone.kl, room.kind.divergence(theirs, beside.logits, beside.texts))
    weights = (len(room.validation), len(beside.texts))
    assert found.kl == pytest.approx(float(np.average(parts, weights=weights))) != alone.kl
    assert found.validation_score == alone.validation_score


def test_a_start_is_judged_as_it_is(teacher: Teacher, task: Task) -> None:
    whole = teacher.model().config.spec_object
    narrow = replace(whole, embedding_width=12, hidden_width=12)
    same, cut = (untaught(spec, teacher, task, RECIPES["default"]) for spec in (whole, narrow))
    assert same.kl < 1e-3 < cut.kl and same.steps == cut.steps == 0
    assert untaught(narrow, teacher, task, RECIPES["default"]).kl == cut.kl
