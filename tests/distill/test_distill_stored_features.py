"""What was stored of a teacher teaches as the teacher itself does, and is stored only where that pays."""

import pickle
from dataclasses import replace
from pathlib import Path
from shutil import rmtree
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import distill.classroom as rooms
import distill.stored_features as storing
from distill.batches import plan_batches
from distill.classroom import Classroom, classroom
from distill.distillation import distil
from distill.examples import Task
from distill.lesson import Lesson
from distill.objectives import OBJECTIVES, LayerObjective
from distill.recipe import Optimization, Recipe, Term
from distill.teachers import Teacher
from students.spec import StudentSpec

INNER = [name for name in OBJECTIVES.names() if isinstance(OBJECTIVES[name], LayerObjective)]
SETTINGS = Optimization(learning_rate=1e-3, epochs=3, batch_size=16, minimum_steps=1)


@pytest.fixture
def spec(teacher: Teacher) -> StudentSpec:
    theirs = teacher.model().config.spec_object
    return replace(theirs, hidden_width=12, embedding_width=12, layers=theirs.layers[:1])


def lesson_of(room: Classroom, spec: StudentSpec, *terms: Term) -> Lesson:
    recipe = Recipe("tiny", terms, SETTINGS)
    return room.lesson(room.start(spec, recipe, 0), recipe, 0, room.train_logits)


@pytest.mark.parametrize("name", INNER)
def test_the_loss_is_the_same(name: str, spec: StudentSpec, teacher: Teacher, task: Task) -> None:
    room = classroom(teacher, task)
    lesson = lesson_of(room, spec, Term(name), Term("logits"))
    plan = plan_batches(room.train.lengths, 16, 60, 0)
    stored = room.planned(lesson, room.train, room.train_logits, plan, 0)
    assert stored.inside is not None
    asked = stored.over(room.train)
    asked.inside = None
    for step in (0, 7):
        with torch.no_grad():
            near, exact = (float(lesson(**batches[step])["loss"]) for batches in (stored, asked))
        assert near == pytest.approx(exact, rel=5e-3, abs=1e-4)


def test_it_is_read_as_long_as_it_is_looked_at(spec: StudentSpec, teacher: Teacher, task: Task) -> None:
    room = classroom(teacher, task)
    lesson = lesson_of(room, spec, Term("hidden", end=0.5), Term("logits", start=0.5))
    batches = room.planned(lesson, room.train, room.train_logits, plan_batches(room.train.lengths, 16, 80, 0), 0)
    brings = ["teacher.hidden_states.2" in batches[step] for step in (0, 39, 40, 79)]
    assert brings == [True, True, False, False]
    assert [key for key in batches[0] if key.startswith("teacher.")] == ["teacher.hidden_states.2"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("distill.lesson.no_gradient_features", lambda *a: pytest.fail("the teacher was asked"))
        for step in (0, 79):
            lesson(**batches[step])
    again = pickle.loads(pickle.dumps(batches))
    assert torch.equal(again[3]["teacher.hidden_states.2"], batches[3]["teacher.hidden_states.2"])
    assert len(pickle.dumps(batches.inside)) < 1000


def test_short_runs_and_full_disks_ask_the_teacher(
    spec: StudentSpec, teacher: Teacher, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = classroom(teacher, task)
    lesson = lesson_of(room, spec, Term("hidden"))
    once = plan_batches(room.train.lengths, 16, 10, 0)
    often = plan_batches(room.train.lengths, 16, 80, 0)
    assert room.planned(lesson, room.train, None, once, 0).inside is None
    answers = lesson_of(room, spec, Term("logits"))
    assert room.planned(answers, room.train, room.train_logits, often, 0).inside is None
    inside = room.planned(lesson, room.train, None, often, 0).inside
    size = sum(np.load(file).nbytes for file in inside.folder.glob("*hidden_states-2.npy"))
    monkeypatch.setattr(storing, "MOST_BYTES", size - 1)
    assert room.planned(lesson, room.train, None, often, 0).inside is None
    monkeypatch.setattr(storing, "MOST_BYTES", size)
    assert room.planned(lesson, room.train, None, often, 0).inside is not None


def test_a_run_that_goes_on_reads_what_it_read_before(
    spec: StudentSpec, teacher: Teacher, task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However full the disk has become, or empty: stored features are rounded in another way than live ones."""
    room = classroom(teacher, task)
    lesson, plan = lesson_of(room, spec, Term("hidden")), plan_batches(room.train.lengths, 16, 80, 0)

    def stores(work: Path | None, free: int) -> bool:
        monkeypatch.setattr(storing, "disk_usage", lambda folder: SimpleNamespace(free=free))
        return room.planned(lesson, room.train, None, plan, 0, work).inside is not None

    assert stores(tmp_path / "began", 2**40)
    assert stores(None, 1) and stores(tmp_path / "began", 1), "nothing more is to be written"
    folder = room.planned(lesson, room.train, None, plan, 0).inside.folder
    rmtree(folder)
    assert not stores(tmp_path / "full", 1)
    assert not stores(tmp_path / "full", 2**40)
    assert stores(tmp_path / "began", 1), "asked for anew"


def test_answers_that_are_too_many_are_asked_for(
    spec: StudentSpec, teacher: Teacher, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, losses = plan_batches(classroom(teacher, task).train.lengths, 16, 1, 0), []
    for most in (rooms.MOST_BYTES, 0):
        monkeypatch.setattr(rooms, "MOST_BYTES", most)
        room = Classroom(teacher, task)
        assert (room.train_logits is None) == (most == 0)
        lesson = lesson_of(room, spec, Term("logits"))
        assert bool(lesson.teachers) == (most == 0)
        with torch.no_grad():
            losses.append(float(lesson(**room.planned(lesson, room.train, room.train_logits, plan, 0)[0])["loss"]))
    assert losses[1] == pytest.approx(losses[0], rel=1e-2)


def test_a_student_is_taught_from_the_store(
    spec: StudentSpec, teacher: Teacher, task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = Recipe("tiny", (Term("hidden", end=0.5), Term("logits", start=0.5)), SETTINGS)
    stored = distil(spec, teacher, task, recipe, tmp_path / "stored", epochs=4)
    monkeypatch.setattr(rooms, "MOST_BYTES", 0)
    monkeypatch.setattr(storing, "MOST_BYTES", 0)
    asked = distil(spec, teacher, task, recipe, tmp_path / "asked", epochs=4)
    assert stored.loss == pytest.approx(asked.loss, rel=1e-2)
    assert stored.validation_score == pytest.approx(asked.validation_score, abs=0.05)
