"""Numbers are learnt in units of their spread: no scale changes what a teacher, a student or a supernet learns."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from stock_models import write_stock
from tiny_kinds import write

from distill.classroom import classroom
from distill.curve import Curve
from distill.distillation import distil, evaluate
from distill.examples import Split, Task
from distill.extra import Extra
from distill.mini import mini_distil
from distill.recipe import Optimization, Recipe, Term
from distill.supernet import judge_part, teach_supernet
from distill.supernet_lesson import Parts
from distill.tasks import load_task
from distill.teachers import Teacher, prepare_teacher
from distill.units import Unit, answer_in_numbers, answer_in_unit, told, unit_of
from runs.files import content_hash
from runs.progress import Progress
from students.bert import load_model
from students.spec import Head, StudentSpec, uniform_spec

SCALE, SHIFT = 40.0, 5000.0
TRAINING = Optimization(learning_rate=3e-3, epochs=6, minimum_steps=1, batch_size=16)
TAUGHT = Recipe("tiny", (Term("logits"), Term("labels", 0.5)), Optimization(3e-3, 4, 16, minimum_steps=1))


def told_otherwise(task: Task) -> Task:
    """The same task with its numbers on another scale."""

    def told(split: Split) -> Split:
        return replace(split, labels=tuple(SCALE * label + SHIFT for label in split.labels))

    splits = {name: told(getattr(task, name)) for name in ("train", "validation", "test")}
    return replace(task, **splits, content_hash=content_hash([task.content_hash, SCALE, SHIFT], 16))


@dataclass(frozen=True)
class World:
    task: Task
    teacher: Teacher

    @property
    def spec(self) -> StudentSpec:
        theirs = self.teacher.model().config.spec_object
        names = ("vocabulary_size", "maximum_positions", "token_types", "head")
        return replace(uniform_spec(1, 16, 2, 32), **{name: getattr(theirs, name) for name in names})


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory, bert_folder: Path, quiet: Progress) -> list[World]:
    """One whose labels are as they are written, and one on the other scale, each with its teacher."""
    root = tmp_path_factory.mktemp("worlds")
    task = load_task(str(write("regression", root)), quiet)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TAILORBIRD_HOME", str(root / "home"))
        return [
            World(one, prepare_teacher(str(bert_folder), one, quiet, training=TRAINING))
            for one in (task, told_otherwise(task))
        ]


def test_teachers_and_students_learn_the_same_on_every_scale(worlds: list[World], tmp_path: Path) -> None:
    plain, told = (world.teacher.validation_score for world in worlds)
    assert plain > 0.8 and told == pytest.approx(plain, abs=0.01)
    for start in ("refitted", "random"):
        recipe, students = replace(TAUGHT, initialization=start), []
        for number, world in enumerate(worlds):
            done = distil(world.spec, world.teacher, world.task, recipe, tmp_path / f"{start}{number}")
            students.append(done)
        one, other = students
        assert one.validation_score > 0.6, start
        assert other.validation_score == pytest.approx(one.validation_score, abs=0.02)
        assert other.divergence == pytest.approx(one.divergence, rel=0.1)
        assert other.validation_scores["rmse"] == pytest.approx(SCALE * one.validation_scores["rmse"], rel=0.1)


def test_a_finished_student_answers_in_the_datas_numbers(worlds: list[World], tmp_path: Path) -> None:
    world = worlds[1]
    done = distil(world.spec, world.teacher, world.task, TAUGHT, tmp_path / "student")
    tokenizer, length = world.teacher.tokenizer(), world.teacher.maximum_length
    found = evaluate(load_model(done.folder), tokenizer, world.task.test, length, world.task.kind)
    assert found.scores["rmse"] < np.std(world.task.test.labels)
    # A student that goes on for no time to speak of is the one that it was.
    further = replace(
        TAUGHT, initialization=str(done.folder), optimization=replace(TAUGHT.optimization, learning_rate=1e-9)
    )
    again = distil(world.spec, world.teacher, world.task, further, tmp_path / "again", steps=2)
    assert again.validation_scores["rmse"] == pytest.approx(done.validation_scores["rmse"], rel=1e-3)


def test_texts_that_nobody_labelled_teach_the_same_on_every_scale(worlds: list[World], tmp_path: Path) -> None:
    more = Extra(texts=("the film was fine and warm", "it was a very dull plot", "a stale scene"))
    found = [
        distil(world.spec, world.teacher, world.task, TAUGHT, tmp_path / str(number), steps=40, extra=more)
        for number, world in enumerate(worlds)
    ]
    assert found[1].divergence == pytest.approx(found[0].divergence, rel=0.1)
    assert found[1].validation_scores["rmse"] == pytest.approx(SCALE * found[0].validation_scores["rmse"], rel=0.1)


@pytest.mark.parametrize("kind", ["mpnet", "roberta", "electra", "distilbert", "deberta-v2"])
def test_the_last_layer_of_a_teacher_in_its_own_form_is_found(kind: str, tmp_path: Path) -> None:
    from distill.stock_teachers import stock_with_head

    folder = write_stock(kind, tmp_path / kind, ("the", "film"))
    model, _ = stock_with_head(folder, Head("regression", 1), (), 0)
    given = {"input_ids": torch.tensor([[0, 5, 6, 2]]), "attention_mask": torch.ones(1, 4, dtype=torch.long)}
    with torch.inference_mode():
        before = model.eval()(**given).logits
        answer_in_unit(model, Unit(7.0, 4.0))
        assert torch.allclose(model(**given).logits, (before - 7.0) / 4.0, atol=1e-5)
        answer_in_numbers(model, Unit(7.0, 4.0))
        assert torch.allclose(model(**given).logits, before, atol=1e-5)


def test_a_short_trial_and_a_supernet_learn_the_same_on_every_scale(worlds: list[World], tmp_path: Path) -> None:
    minis, parts_found = [], []
    for number, world in enumerate(worlds):
        minis.append(mini_distil(world.spec, world.teacher, world.task, TAUGHT, steps=30))
        whole = world.teacher.model().config.spec_object
        parts = Parts("its layers", whole, whole, lambda count, rng, whole=whole: [whole] * count)
        folder = tmp_path / f"supernet{number}"
        teach_supernet(world.teacher, world.task, parts, TAUGHT, folder, steps=20)
        parts_found.append(judge_part(whole, folder, world.teacher, world.task))
    for one, other in (minis, parts_found):
        assert other.kl == pytest.approx(one.kl, rel=0.1) and other.loss == pytest.approx(one.loss, rel=0.1)
        assert other.validation_score == pytest.approx(one.validation_score, abs=0.02)


def test_a_student_cut_short_ends_with_the_same_bits(
    worlds: list[World], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = worlds[1]

    def run(name: str) -> bytes:
        done = distil(world.spec, world.teacher, world.task, TAUGHT, tmp_path / name, steps=40, checkpoint_steps=10)
        return (done.folder / "model.safetensors").read_bytes()

    class Stopped(BaseException):
        pass

    undisturbed, add = run("undisturbed"), Curve.add

    def stopping(curve: Curve, step: int, loss: float) -> None:
        add(curve, step, loss)
        if step == 30:
            raise Stopped

    with monkeypatch.context() as patch:
        patch.setattr(Curve, "add", stopping)
        with pytest.raises(Stopped):
            run("stopped")
    assert list(tmp_path.glob(".stopped.*/checkpoint-20"))
    assert run("stopped") == undisturbed


def test_the_unit_is_that_of_the_train_split_and_of_numbers_alone(worlds: list[World], task: Task) -> None:
    labels, room = np.array(worlds[1].task.train.labels), classroom(worlds[1].teacher, worlds[1].task)
    unit = unit_of(worlds[1].task)
    assert unit is not None and (unit.mean, unit.spread) == (pytest.approx(labels.mean()), pytest.approx(labels.std()))
    assert np.allclose(told(room.train.labels, unit), labels) and abs(room.train.labels.mean()) < 1e-5
    assert unit_of(task) is None
    model = worlds[1].teacher.model()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    answer_in_unit(model, unit)
    changed = [name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])]
    assert changed == ["head.classifier.weight", "head.classifier.bias"]
    answer_in_numbers(model, unit)
    assert all(torch.allclose(tensor, before[name]) for name, tensor in model.state_dict().items())
