"""The course of a run: how long it is, and what of it are copies."""

from dataclasses import replace
from pathlib import Path
from shutil import copytree, rmtree
from typing import Any

import numpy as np
import pytest

from distill.augmentation import Replacement
from distill.batches import Encoded
from distill.classroom import classroom
from distill.course import begun, course
from distill.evaluation import Logits, answer
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


def test_a_longer_run_asks_for_its_further_copies_alone(
    teacher: Teacher, task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Answers in another number format, as validation's are, are no part of what such runs share."""
    fresh = replace(teacher, folder=Path(copytree(teacher.folder, tmp_path / "teacher")))
    rmtree(fresh.folder / "outputs", ignore_errors=True)
    size = len(task.train)
    asked: list[tuple[int, bool]] = []

    def counted(model: Any, texts: Encoded, kind: str, mixed: bool, *more: Any) -> Logits:
        asked.append((len(texts), mixed))
        return answer(model, texts, kind, mixed, *more)

    monkeypatch.setattr("distill.classroom.PART_TEXTS", size)
    monkeypatch.setattr("distill.classroom.answer", counted)
    answers = {}
    for epochs in (1, 2, 4):
        room = classroom(fresh, task)
        room.ask_teacher()
        answers[epochs] = course(room, RECIPE, 0, epochs=epochs).logits
    assert asked == [(len(task.validation), False), (size, True), (size, True), (size, True), (size, True)]
    for epochs, found in answers.items():
        assert np.array_equal(found, answers[4][: epochs * size])
    assert len(list((fresh.folder / "outputs").glob("parts-*/part-*.npy"))) == 4
