"""The moving average of weights: its arithmetic, and that long and short runs end with it alike."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from distill.averaging import Average, averaged
from distill.brief import train_briefly
from distill.classroom import classroom
from distill.course import begun
from distill.distillation import distil
from distill.examples import Task
from distill.recipe_file import RECIPES
from distill.teachers import Teacher
from students.bert import load_model
from students.spec import TransformerLayer


def test_the_average_is_what_is_said_of_it() -> None:
    model, wanted = nn.Linear(1, 1, bias=False), 0.0
    model.weight.data.fill_(0.0)
    average = Average(model, 0.5)
    for step in range(1, 30):
        model.weight.data.fill_(float(step))
        average.update(step)
        kept = min(0.5, (step + 1) / (step + 10))
        wanted = kept * wanted + (1 - kept) * step
    with averaged(average):
        assert model.weight.item() == pytest.approx(wanted, rel=1e-5) and wanted < 28.1
    assert model.weight.item() == 29.0


def test_weights_that_are_not_trained_are_left_alone() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)).requires_grad_(False)
    model[1].requires_grad_(True)
    assert len(list(Average(model, 0.9).buffers())) == 2


def test_a_long_run_and_a_short_one_end_with_the_same_average(teacher: Teacher, task: Task, tmp_path: Path) -> None:
    own = teacher.model().config.spec_object
    spec = replace(own, embedding_width=16, hidden_width=16, layers=(TransformerLayer(2, 16, 24),))
    found = {}
    for average in (0.0, 0.8):
        settings = replace(RECIPES["labels"].optimization, average=average, minimum_steps=40, epochs=1e-9)
        recipe = replace(RECIPES["labels"], optimization=settings)
        with begun(classroom(teacher, task), spec, recipe, 0) as run:
            train_briefly(run.lesson, run.batches, settings)
        # Words that were left out of training come back with the end of the run.
        short = torch.cat([weight.detach().flatten() for weight in run.lesson.student.parameters()])
        done = distil(spec, teacher, task, recipe, tmp_path / str(average))
        long = torch.cat([weight.detach().flatten() for weight in load_model(done.folder).parameters()])
        assert torch.allclose(short, long, atol=1e-6)
        found[average] = long
    assert float((found[0.8] - found[0.0]).norm()) > 1e-3
