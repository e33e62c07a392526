"""Classrooms of every kind of task: a few texts, and a tiny teacher that has just been fitted to them."""

from pathlib import Path

import pytest
from tiny_kinds import write

from distill.classroom import Classroom, classroom
from distill.recipe import Optimization
from distill.tasks import load_task
from distill.teachers import prepare_teacher
from runs.progress import Progress


def tiny_room(kind: str, teacher: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Classroom:
    """With everything that it stores in `folder`."""
    monkeypatch.setenv("TAILORBIRD_HOME", str(folder / "home"))
    quiet = Progress(quiet=True)
    task = load_task(str(write(kind, folder)), quiet, kind)
    training = Optimization(learning_rate=3e-3, epochs=1, minimum_steps=1)
    return classroom(prepare_teacher(str(teacher), task, quiet, training=training), task)
