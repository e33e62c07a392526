"""Whole distillations on a tiny world: every recipe teaches, a kill changes nothing, folders are respected."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from subprocess import PIPE

import psutil
import pytest
from transformers import AutoModelForSequenceClassification

from distill.augmentation import Replacement
from distill.bag_of_words import bag_of_words_score
from distill.classroom import classroom
from distill.distillation import distil, evaluate, mini_distil
from distill.examples import Task
from distill.extra import Extra
from distill.recipe import Optimization
from distill.recipe_file import RECIPES
from distill.teachers import Teacher
from runs.errors import UserError
from students.spec import StudentSpec, TransformerLayer

ROOT = Path(__file__).parents[2]


@pytest.fixture
def spec(teacher: Teacher) -> StudentSpec:
    own = teacher.model().config.spec_object
    return replace(own, embedding_width=16, hidden_width=16, layers=(TransformerLayer(2, 16, 24),))


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


@pytest.mark.parametrize("name", RECIPES.names())
class TestRecipe:
    def test_it_teaches(self, name: str, spec: StudentSpec, teacher: Teacher, task: Task, tmp_path: Path) -> None:
        steps = 160 if RECIPES[name].initialization == "random" else 80
        done = distil(spec, teacher, task, name, tmp_path / "student", steps=steps)
        assert done.steps == steps
        assert done.validation_score >= 0.7
        model = AutoModelForSequenceClassification.from_pretrained(done.folder)
        evaluation = evaluate(model, teacher.tokenizer(), task.validation)
        assert evaluation.score == done.validation_score
        assert evaluation.logits.shape == (len(task.validation), 2)
        card = (done.folder / "README.md").read_text()
        assert task.licence in card and teacher.name in card
        assert [path.name for path in tmp_path.iterdir()] == ["student"]

    def test_mini_writes_nothing_and_repeats(
        self, name: str, spec: StudentSpec, teacher: Teacher, task: Task, tmp_path: Path
    ) -> None:
        assert len(classroom(teacher, task).train_logits) == len(task.train)
        before = sorted(path for path in teacher.folder.rglob("*"))
        one, two = (mini_distil(spec, teacher, task, name, steps=8, subset=0.5, seed=1) for _ in range(2))
        assert (one.loss, one.kl, one.validation_score) == (two.loss, two.kl, two.validation_score)
        assert mini_distil(spec, teacher, task, name, steps=8, subset=0.5, seed=2).loss != one.loss
        assert sorted(path for path in teacher.folder.rglob("*")) == before


def test_more_steps_bring_the_student_nearer(spec: StudentSpec, teacher: Teacher, task: Task) -> None:
    recipe = replace(RECIPES["default"], initialization="random", optimization=Optimization(5e-3, epochs=1))
    few, many = (mini_distil(spec, teacher, task, recipe, steps=steps).kl for steps in (2, 60))
    assert many < 0.8 * few


def test_the_same_again_is_read_not_taught(spec: StudentSpec, teacher: Teacher, task: Task, tmp_path: Path) -> None:
    first = distil(spec, teacher, task, "labels", tmp_path / "student", steps=5)
    stamp = (first.folder / "model.safetensors").stat().st_mtime_ns
    assert distil(spec, teacher, task, "labels", tmp_path / "student", steps=5) == first
    assert (first.folder / "model.safetensors").stat().st_mtime_ns == stamp
    with pytest.raises(UserError, match="other settings"):
        distil(spec, teacher, task, "labels", tmp_path / "student", steps=6)


def test_a_foreign_folder_is_left_alone(spec: StudentSpec, teacher: Teacher, task: Task, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="choose another output folder"):
        distil(spec, teacher, task, "labels", tmp_path, steps=5)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_head_that_does_not_fit_the_data_is_named(spec: StudentSpec, teacher: Teacher, task: Task) -> None:
    wrong = replace(spec, head=replace(spec.head, labels=5))
    with pytest.raises(UserError, match="5 labels, and the data asks for .* with 2"):
        distil(wrong, teacher, task, "labels", Path("never-made"), steps=5)
    assert not Path("never-made").exists()


@pytest.mark.parametrize("recipe", ["default", "tinybert"])
def test_the_words_of_the_data_alone_make_the_same_student(
    recipe: str, spec: StudentSpec, teacher: Teacher, task: Task, tmp_path: Path
) -> None:
    few = [distil(spec, teacher, task, recipe, tmp_path / name, steps=8, vocabulary=name) for name in ("all", "data")]
    assert few[1].divergence == pytest.approx(few[0].divergence, rel=1e-3)
    assert few[1].loss == pytest.approx(few[0].loss, rel=1e-3)
    with pytest.raises(UserError, match="other settings"):
        distil(spec, teacher, task, recipe, tmp_path / "all", steps=8, vocabulary="data")


def test_what_is_learnt_from_beside_the_data(spec: StudentSpec, teacher: Teacher, task: Task, tmp_path: Path) -> None:
    extra = Extra(("the film was very fine", "a dull plot"), Replacement(copies=2))
    done = distil(spec, teacher, task, "default", tmp_path / "more", epochs=1, extra=extra)
    assert done.steps == -(-(len(task.train) + 2) // 32), "copies make no epoch longer"
    assert "a dull plot" not in (done.folder / "distilled.json").read_text(), "texts are not ours to copy"
    other = Extra(extra.texts[:1], extra.replacement)
    with pytest.raises(UserError, match="other settings"):
        distil(spec, teacher, task, "default", tmp_path / "more", epochs=1, extra=other)


STEPS, CHECKPOINT_STEPS = 60, 10

CHILD = """
import json, os, sys, torch
from pathlib import Path
from distill.distillation import distil
from distill.tasks import load_task
from distill.teachers import prepare_teacher
from runs.progress import Progress
from students.spec import StudentSpec

def lesson(data, teacher, spec, recipe, output, steps, checkpoint_steps):
    torch.set_num_threads(1)
    task = load_task(data, Progress(quiet=True))
    fitted = prepare_teacher(teacher, task, Progress(quiet=True))
    spec = StudentSpec.from_json(spec)
    distil(spec, fitted, task, recipe, Path(output), steps=steps, checkpoint_steps=checkpoint_steps)

for line in sys.stdin:
    child = os.fork()
    if not child:
        for order in json.loads(line):
            lesson(**order)
        os._exit(0)
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.fixture(scope="module")
def parent() -> Iterator[subprocess.Popen[str]]:
    """What has loaded everything, and forks for each list of orders a child that does them: says its id and its end."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [sys.executable, "-c", CHILD], cwd=ROOT, env=environment, stdin=PIPE, stdout=PIPE, text=True
    ) as process:
        yield process


@pytest.mark.parametrize("recipe", ["default", "kd-nas"])
def test_a_kill_changes_no_bit(
    recipe: str,
    spec: StudentSpec,
    teacher: Teacher,
    task: Task,
    parent: "subprocess.Popen[str]",
    tmp_path: Path,
) -> None:
    rows = zip(task.train.texts, task.train.labels, strict=True)
    (tmp_path / "data.csv").write_text("text,label\n" + "".join(f"{text},{label}\n" for text, label in rows))
    says, told = parent.stdin, parent.stdout
    assert says and told

    def child(*outputs: str) -> int:
        order = {
            "data": str(tmp_path / "data.csv"),
            "teacher": str(teacher.folder),
            "spec": spec.to_json(),
            "recipe": recipe,
            "steps": STEPS,
            "checkpoint_steps": CHECKPOINT_STEPS,
        }
        print(json.dumps([order | {"output": str(tmp_path / output)} for output in outputs]), file=says, flush=True)
        return int(told.readline())

    killed = psutil.Process(child("killed"))
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob(".killed.*/checkpoint-20/complete")):
        assert killed.is_running() and time.monotonic() < deadline, "the run ended or hung before its checkpoint"
        time.sleep(0.002)
    killed.kill()
    assert int(told.readline()) == -signal.SIGKILL
    assert not (tmp_path / "killed").exists()
    child("killed", "undisturbed")
    assert int(told.readline()) == 0
    assert weights(tmp_path / "killed") == weights(tmp_path / "undisturbed")


def test_bag_of_words_finds_the_telling_words(task: Task) -> None:
    assert bag_of_words_score(task) >= 0.9
    assert bag_of_words_score(task, task.validation) >= 0.9
