"""Stored answers: the same in parts as in one, and after a kill nothing is asked for twice."""

from dataclasses import replace
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from distill.batches import Encoded
from distill.classroom import Classroom
from distill.evaluation import Logits, answer
from distill.examples import Task
from distill.stored_answers import stored_answers
from distill.teachers import Teacher
from runs.progress import Progress


@pytest.mark.parametrize("per_token", [False, True])
def test_a_slice_is_what_stands_between(teacher: Teacher, task: Task, per_token: bool) -> None:
    whole = Classroom(teacher, task).train
    if per_token:
        whole = replace(whole, labels=np.arange(len(whole.ids)), per_token=True)
    part = whole.slice(5, 12)
    for name, wanted in whole.batch(range(5, 12)).items():
        assert (part.batch(range(7))[name] == wanted).all()
    assert len(whole.slice(len(whole) - 3, len(whole) + 9)) == 3


def test_a_killed_teacher_goes_on_where_it_was(teacher: Teacher, task: Task, tmp_path: Path, quiet: Progress) -> None:
    room = Classroom(teacher, task)
    wanted = answer(room.model, room.train)
    asked: list[int] = []

    def ask(texts: Encoded) -> Logits:
        if len(asked) == 2:
            raise KeyboardInterrupt
        asked.append(len(texts))
        return answer(room.model, texts)

    def again(texts: Encoded) -> Logits:
        asked.append(len(texts))
        return answer(room.model, texts)

    with pytest.raises(KeyboardInterrupt):
        stored_answers(tmp_path / "a", room.train, ask, quiet, 100)
    assert np.allclose(stored_answers(tmp_path / "a", room.train, again, quiet, 100), wanted, atol=1e-5)
    assert sum(asked) == len(room.train) and asked[0] == 100
    stored_answers(tmp_path / "a", room.train, again, quiet, 100)
    assert sum(asked) == len(room.train)
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == [".lock", "logits.npy"]


def test_texts_that_begin_alike_are_asked_for_once(
    teacher: Teacher, task: Task, tmp_path: Path, quiet: Progress
) -> None:
    room = Classroom(teacher, task)
    some, shared, asked = room.train.slice(0, 250), tmp_path / "parts", list[int]()

    def ask(texts: Encoded) -> Logits:
        asked.append(len(texts))
        return answer(room.model, texts)

    few = stored_answers(tmp_path / "few", some, ask, quiet, 100, shared)
    assert asked == [100, 100, 50] and np.allclose(few, answer(room.model, some), atol=1e-5)
    asked.clear()
    every = stored_answers(tmp_path / "all", room.train, ask, quiet, 100, shared)
    assert sum(asked) == len(room.train) - 200 and (every[:200] == few[:200]).all()
    assert np.allclose(every, answer(room.model, room.train), atol=1e-5)
    asked.clear()
    other = replace(room.train, ids=room.train.ids[::-1].copy())
    stored_answers(tmp_path / "other", other, ask, quiet, 100, shared)
    assert sum(asked) == len(other), "as many texts, and as long, but others"


def test_what_takes_longer_is_shown(teacher: Teacher, task: Task, tmp_path: Path) -> None:
    room, said = Classroom(teacher, task), StringIO()
    clock = iter(range(0, 10_000, 60))
    loud = Progress(console=Console(file=said, width=200), clock=lambda: float(next(clock)))
    stored_answers(tmp_path / "many", room.train, lambda texts: answer(room.model, texts), loud, 150)
    assert "asking the teacher: 1/" in said.getvalue()
