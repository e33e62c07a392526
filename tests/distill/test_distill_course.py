"""The course of a run: how long it is, and what of it are copies."""

from dataclasses import replace

import numpy as np
import pytest

from distill.augmentation import Replacement
from distill.classroom import classroom
from distill.course import begun, course
from distill.examples import Task
from distill.extra import NOTHING, Extra
from distill.recipe import Optimization, Recipe, Term
from distill.teachers import Teacher

RECIPE = Recipe("tiny", (Term("logits"),), Optimization(1e-3, 10, batch_size=16, minimum_steps=1), augment=3)


def test_copies_make_no_run_longer(teacher: Teacher, task: Task) -> None:
    room = classroom(teacher, task)
    plain, copied = (course(room, replace(RECIPE, augment=copies), 0) for copies in (0, 3))
    assert len(plain.plan) == len(copied.plan) == 10 * -(-len(task.train) // 16)
    assert len(copied.encoded) == 4 * len(plain.encoded) == len(copied.logits)
    seen = np.unique(np.concatenate(copied.plan))
    assert len(seen) == len(copied.encoded), "all copies are learnt from"


@pytest.mark.parametrize(("epochs", "copies"), [(1, 0), (2, 1), (3.5, 2), (20, 3)])
def test_a_short_run_has_fewer_copies(epochs: float, copies: int, teacher: Teacher, task: Task) -> None:
    taken = course(classroom(teacher, task), RECIPE, 0, epochs=epochs)
    assert len(taken.encoded) == (copies + 1) * len(task.train)


def test_answers_are_stored_where_enough_are_read(teacher: Teacher, task: Task) -> None:
    """Those to the train split are there already: a copy is asked for once, whoever stores it or not."""
    room = classroom(teacher, task)
    spec = room.model.config.spec_object
    copies = Extra((), Replacement(3))
    for extra, epochs, stored in ((copies, 3, False), (copies, 4, True), (NOTHING, 2, True)):
        with begun(room, spec, RECIPE, 0, epochs=epochs, extra=extra) as run:
            assert (run.batches.teacher_logits is not None) == stored
            assert bool(run.lesson.teachers) == (not stored)
            assert ("teacher_logits" in run.batches[0]) == stored
            assert float(run.lesson(**run.batches[0])["loss"]) >= 0
    with begun(room, spec, replace(RECIPE, terms=(Term("labels"),)), 0, epochs=8) as run:
        assert run.batches.teacher_logits is None and not run.lesson.teachers, "labels ask nobody"


def test_whose_copies_are_asked_for(teacher: Teacher, task: Task) -> None:
    room = classroom(teacher, task)
    assert len(course(room, RECIPE, 0, subset=0.5).encoded) == len(task.train)
    own = course(room, RECIPE, 0, extra=Extra((), Replacement(1)))
    assert len(own.encoded) == 2 * len(task.train)
    more = course(room, RECIPE, 0, extra=Extra(("a film",)), epochs=2)
    assert len(more.encoded) == 2 * (len(task.train) + 1)
