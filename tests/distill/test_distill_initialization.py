"""Contract of every initialization: the shape asked for, the same weights each time, the teacher left alone."""

from dataclasses import replace

import pytest
import torch

from distill.classroom import classroom
from distill.evaluation import answer
from distill.examples import Task
from distill.initialization import INITIALIZATIONS
from distill.recipe_file import RECIPES
from distill.teachers import Teacher
from runs.errors import UserError
from students.spec import StudentSpec


def student_spec(teacher: Teacher) -> StudentSpec:
    """The teacher's widths with one layer less, which every initialization can make."""
    spec = teacher.model().config.spec_object
    return replace(spec, layers=spec.layers[:1])


@pytest.mark.parametrize("name", INITIALIZATIONS.names())
class TestInitialization:
    def test_shape_labels_and_determinism(self, name: str, teacher: Teacher, task: Task) -> None:
        room = classroom(teacher, task)
        recipe = replace(RECIPES["default"], initialization=name)
        before = {key: value.clone() for key, value in room.model.state_dict().items()}
        one, two = (room.start(student_spec(teacher), recipe, seed=3) for _ in range(2))
        assert one.config.spec_object == student_spec(teacher)
        assert list(one.config.id2label.values()) == list(task.label_names)
        for key, value in one.state_dict().items():
            assert torch.equal(value, two.state_dict()[key]), key
        for key, value in room.model.state_dict().items():
            assert torch.equal(value, before[key]), key

    def test_importance_is_kept_on_disk(self, name: str, teacher: Teacher, task: Task) -> None:
        room, again = classroom(teacher, task), type(classroom(teacher, task))(teacher, task)
        assert set(room.importance.points) == set(again.importance.points)
        for point, same in zip(room.importance.points.values(), again.importance.points.values(), strict=True):
            assert torch.equal(point.score, same.score) and torch.equal(point.covariance, same.covariance)


@pytest.mark.parametrize("name", ["teacher-layers", "sliced"])
def test_the_teachers_own_shape_gives_the_teacher(name: str, teacher: Teacher, task: Task) -> None:
    room = classroom(teacher, task)
    student = room.start(room.model.config.spec_object, replace(RECIPES["default"], initialization=name), 0)
    assert room.judge(answer(student, room.validation))[1] == pytest.approx(0, abs=1e-6)


def test_teacher_layers_needs_the_teachers_widths(teacher: Teacher, task: Task) -> None:
    spec = replace(student_spec(teacher), hidden_width=20, embedding_width=20)
    with pytest.raises(UserError, match="needs a student with the teacher's widths"):
        classroom(teacher, task).start(spec, replace(RECIPES["default"], initialization="teacher-layers"), 0)
