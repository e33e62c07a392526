"""Contract of every initialization: the shape asked for, the same weights each time, the teacher left alone."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from distill.classroom import classroom
from distill.evaluation import answer
from distill.examples import Task
from distill.initialization import INITIALIZATIONS, check_source, check_start
from distill.label_names import reorder_labels
from distill.recipe_file import RECIPES
from distill.teachers import Teacher
from runs.errors import UserError
from students.bert import load_model
from students.model import encoder_of, with_head
from students.spec import Head, StudentSpec


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


@pytest.mark.parametrize("name", ["teacher-layers", "sliced", "refitted"])
def test_the_teachers_own_shape_gives_the_teacher(name: str, teacher: Teacher, task: Task) -> None:
    room = classroom(teacher, task)
    student = room.start(room.model.config.spec_object, replace(RECIPES["default"], initialization=name), 0)
    assert room.judge(answer(student, room.validation))[1] == pytest.approx(0, abs=1e-6)


def test_teacher_layers_needs_the_teachers_widths(teacher: Teacher, task: Task) -> None:
    spec = replace(student_spec(teacher), hidden_width=20, embedding_width=20)
    with pytest.raises(UserError, match="needs a student with the teacher's widths"):
        classroom(teacher, task).start(spec, replace(RECIPES["default"], initialization="teacher-layers"), 0)


def test_a_plain_slice_is_the_sub_matrix_and_a_refitted_one_is_nearer(teacher: Teacher, task: Task) -> None:
    room = classroom(teacher, task)
    spec = replace(room.model.config.spec_object, hidden_width=20, embedding_width=20)
    plain, refit = (
        room.start(spec, replace(RECIPES["default"], initialization=name), 0) for name in ("sliced", "refitted")
    )
    rows = encoder_of(room.model).embeddings.word.weight.detach().T
    for column in encoder_of(plain).embeddings.word.weight.detach().T:
        assert any(torch.equal(column, row) for row in rows)
    theirs = encoder_of(room.model).layers[0].query.weight.detach().flatten()
    ours = encoder_of(plain).layers[0].query.weight.detach().flatten()
    assert torch.isin(ours, theirs).all() and not torch.isin(encoder_of(refit).layers[0].query.weight, theirs).all()
    far, near = (room.judge(answer(student, room.validation))[1] for student in (plain, refit))
    assert near < far


class TestAnEarlierStudent:
    """A folder in place of an initialization's name."""

    @pytest.fixture
    def earlier(self, teacher: Teacher, task: Task, tmp_path: Path) -> Path:
        student = classroom(teacher, task).start(student_spec(teacher), RECIPES["default"], 0)
        student.save_pretrained(tmp_path / "earlier")
        return tmp_path / "earlier"

    def test_of_the_same_shape_goes_on_as_it_was(self, earlier: Path, teacher: Teacher, task: Task) -> None:
        recipe = replace(RECIPES["default"], initialization=str(earlier))
        check_start(str(earlier), student_spec(teacher))
        again = classroom(teacher, task).start(student_spec(teacher), recipe, 5)
        for name, weight in load_model(earlier).state_dict().items():
            assert torch.equal(again.state_dict()[name], weight), name

    def test_of_other_labels_keeps_all_but_the_classifier(self, earlier: Path, teacher: Teacher, task: Task) -> None:
        other = earlier.with_name("other")
        with_head(load_model(earlier), Head("classification", 7)).save_pretrained(other)
        again = classroom(teacher, task).start(
            student_spec(teacher), replace(RECIPES["default"], initialization=str(other)), 5
        )
        same = {
            name for name, weight in load_model(earlier).state_dict().items()
            if torch.equal(again.state_dict()[name], weight)
        }  # fmt: skip
        assert set(again.state_dict()) - same == {"head.classifier.weight", "head.classifier.bias"}

    def test_of_the_same_labels_in_another_order_answers_in_the_tasks(
        self, earlier: Path, teacher: Teacher, task: Task
    ) -> None:
        mine, other = load_model(earlier), earlier.with_name("turned")
        wanted = mine.head.classifier.weight.detach().clone()
        reorder_labels(mine, (1, 0), task.label_names[::-1])
        mine.save_pretrained(other)
        recipe = replace(RECIPES["default"], initialization=str(other))
        again = classroom(teacher, task).start(student_spec(teacher), recipe, 5)
        assert torch.equal(again.head.classifier.weight, wanted)
        mine.config.id2label = {0: "cats", 1: "dogs"}
        mine.save_pretrained(other)
        fresh = classroom(teacher, task).start(student_spec(teacher), recipe, 5)
        assert not torch.isin(fresh.head.classifier.weight, wanted).any(), "other names are other classes"

    def test_a_larger_one_is_cut(self, earlier: Path, teacher: Teacher, task: Task) -> None:
        spec = replace(student_spec(teacher), hidden_width=20, embedding_width=20)
        check_start(str(earlier), spec)
        student = classroom(teacher, task).start(spec, replace(RECIPES["default"], initialization=str(earlier)), 0)
        assert student.config.spec_object == spec

    def test_one_with_other_words_is_refused(self, earlier: Path, teacher: Teacher) -> None:
        with pytest.raises(UserError, match="words and the teacher's tokenizer 99"):
            check_start(str(earlier), replace(student_spec(teacher), vocabulary_size=99))
        with pytest.raises(UserError, match="nowhere to start from does not exist"):
            check_start(str(earlier) + "-nowhere", student_spec(teacher), teacher.model().config.spec_object)
        with pytest.raises(UserError, match="unknown initialization 'slice'"):
            check_start("slice", student_spec(teacher))

    def test_a_part_of_a_supernet(self, earlier: Path, teacher: Teacher, task: Task) -> None:
        spec, tokenizer = student_spec(teacher), teacher.tokenizer()
        recipe = replace(RECIPES["default"], initialization=f"supernet:{earlier}")
        part = replace(spec, hidden_width=18, embedding_width=18)
        check_start(recipe.initialization, part, spec)
        check_source(recipe, part, 3, tokenizer)
        student = classroom(teacher, task).start(part, recipe, 0)
        whole, ours = encoder_of(load_model(earlier)), encoder_of(student)
        assert torch.equal(ours.layers[0].contract.weight, whole.layers[0].contract.weight[:18])
        assert list(student.config.id2label.values()) == list(task.label_names)
        with pytest.raises(UserError, match="30 hidden channels and the model in .*earlier 24: it is no part"):
            check_source(recipe, replace(spec, hidden_width=30, embedding_width=30), 3, tokenizer)
        with pytest.raises(UserError, match="the model folder nowhere to start from does not exist"):
            check_start("supernet:nowhere", spec, spec)

    def test_its_own_layers_are_what_a_layer_map_names(self, earlier: Path, teacher: Teacher) -> None:
        spec, tokenizer = student_spec(teacher), teacher.tokenizer()
        recipe = replace(RECIPES["default"], initialization=str(earlier), layer_map=(2,))
        check_source(recipe, spec, 3, tokenizer)
        cut = replace(spec, hidden_width=20, embedding_width=20)
        with pytest.raises(UserError, match="layer 2 of the model in .*, and the model in .* has layers 0 to 0"):
            check_source(recipe, cut, 3, tokenizer)
        with pytest.raises(UserError, match="layer 5 of the teacher .* has layers 0 to 2"):
            check_source(replace(RECIPES["default"], layer_map=(5,)), spec, 3, tokenizer)

    def test_one_with_another_tokenizer_is_refused(self, earlier: Path, teacher: Teacher) -> None:
        spec, tokenizer = student_spec(teacher), teacher.tokenizer()
        recipe = replace(RECIPES["default"], initialization=str(earlier))
        tokenizer.save_pretrained(earlier)
        check_source(recipe, spec, 3, tokenizer)
        stored = json.loads((earlier / "tokenizer.json").read_text())
        words = stored["model"]["vocab"]
        first, second = list(words)[-2:]
        words[first], words[second] = words[second], words[first]
        (earlier / "tokenizer.json").write_text(json.dumps(stored))
        with pytest.raises(UserError, match="has another tokenizer than the teacher"):
            check_source(recipe, spec, 3, tokenizer)

    def test_widths_of_whole_layers_are_asked_before_training(self, teacher: Teacher) -> None:
        theirs = teacher.model().config.spec_object
        check_start("teacher-layers", student_spec(teacher), theirs)
        with pytest.raises(UserError, match="needs a student with the teacher's widths"):
            check_start("teacher-layers", replace(student_spec(teacher), hidden_width=20, embedding_width=20), theirs)
