"""Teaching a supernet: its parts learn, which ones follows from seed and step, and a kill changes nothing."""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from command_runs import TORCHRUN, start

from distill.classroom import classroom
from distill.evaluation import answer
from distill.examples import Task
from distill.lesson import Lesson
from distill.matching import MATCHINGS
from distill.objectives import OBJECTIVES
from distill.recipe import Optimization, Recipe, Term
from distill.supernet import judge_part, started, teach_supernet
from distill.supernet_lesson import SAMPLINGS, Parts, SupernetLesson
from distill.teachers import Teacher
from runs.errors import UserError
from students.leading import leading_part
from students.model import load_student
from students.spec import StudentSpec, TransformerLayer
from students.supernet import depth_map

RECIPE = Recipe("tiny", (Term("logits", temperature=2.0),), Optimization(3e-3, epochs=1))


@pytest.fixture
def parts(teacher: Teacher) -> Parts:
    """Of a supernet with the teacher's widths: narrower in everything, drawn at random."""
    whole = teacher.model().config.spec_object

    def drawn(count: int, rng: np.random.Generator) -> list[StudentSpec]:
        return [member(whole, int(width), int(neurons)) for width, neurons in rng.integers(8, 24, size=(count, 2))]

    return Parts("narrower", whole, member(whole, 8, 8), drawn)


def member(whole: StudentSpec, width: int, neurons: int) -> StudentSpec:
    layer = TransformerLayer(1, 4, neurons)
    return replace(whole, embedding_width=width, hidden_width=width, layers=(layer,))


@pytest.mark.parametrize("name", SAMPLINGS.names())
class TestSampling:
    def test_as_many_as_asked_for_and_the_same_again(self, name: str, parts: Parts) -> None:
        for count in (1, 2, 3, 5):
            one, two = (SAMPLINGS[name].choose(parts, count, np.random.default_rng(3)) for _ in range(2))
            assert len(one) == count and list(one) == list(two)


def test_a_sandwich_has_both_ends(parts: Parts) -> None:
    assert list(SAMPLINGS["sandwich"].choose(parts, 3, np.random.default_rng(0)))[:2] == [parts.whole, parts.smallest]


@pytest.mark.parametrize("name", OBJECTIVES.names())
def test_the_loss_is_that_of_the_part_alone(name: str, teacher: Teacher, task: Task, parts: Parts) -> None:
    room, spec = classroom(teacher, task), parts.smallest
    supernet = started(room, parts.supernet)
    term = Term(name, matching="last-layer") if OBJECTIVES[name].__class__.__name__ == "LayerObjective" else Term(name)
    only = replace(parts, members=lambda count, rng: [spec] * count)
    net = SupernetLesson(supernet, (term,), room.model, only, sampling="uniform", count=1, steps=10)
    alone = Lesson(leading_part(supernet, spec, depth_map(1, 2)), (term,), room.model)
    for place, projection in alone.projections.items():
        number, _, theirs = place.split("_")
        whole = net.projection(int(number), parts.whole.hidden_width, int(theirs))
        projection.load_state_dict({"weight": whole.weight[:, : projection.in_features], "bias": whole.bias})
    batch = {**room.train.batch(range(8)), "share_done": torch.tensor(0.0)}
    batch["teacher_logits"] = torch.from_numpy(np.array(room.train_logits[:8]))
    ours, theirs = net(**batch)["loss"], alone(**batch)["loss"]
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-3, abs=1e-5)
    ours.backward()
    assert supernet.base_model.embeddings.word.weight.grad is not None


def test_in_place_the_whole_learns_from_the_teacher_and_parts_from_the_whole(
    teacher: Teacher, task: Task, parts: Parts
) -> None:
    room = classroom(teacher, task)
    supernet = started(room, parts.supernet)
    with torch.no_grad():
        # No longer the teacher itself.
        supernet.head.classifier.weight.mul_(-1.0)
    net = SupernetLesson(supernet, RECIPE.terms, None, parts, sampling="in-place", count=3, steps=10)
    batch = {**room.train.batch(range(8)), "share_done": torch.tensor(0.0)}
    given = torch.from_numpy(np.array(room.train_logits[:8]))
    whole, *others = net._students(0.0)
    own = whole(batch["input_ids"], batch["attention_mask"], batch["token_type_ids"]).logits.detach()

    def loss(model: torch.nn.Module, answers: torch.Tensor) -> torch.Tensor:
        return Lesson(model, RECIPE.terms, None)(**batch, teacher_logits=answers)["loss"]

    expected = torch.stack([loss(whole, given), *(loss(part, own) for part in others)]).mean()
    assert len(others) == 2
    assert net(**batch, teacher_logits=given)["loss"].item() == pytest.approx(expected.item(), rel=1e-3)
    sandwich = SupernetLesson(supernet, RECIPE.terms, None, parts, sampling="sandwich", count=3, steps=10)
    assert sandwich(**batch, teacher_logits=given)["loss"].item() != pytest.approx(expected.item(), rel=0.05)


def test_parts_follow_from_seed_and_step(teacher: Teacher, task: Task, parts: Parts) -> None:
    room = classroom(teacher, task)

    def drawn(seed: int, share: float) -> list[StudentSpec]:
        lesson = SupernetLesson(started(room, parts.supernet), RECIPE.terms, None, parts, count=4, steps=10, seed=seed)
        return [model.config.spec_object for model in lesson._students(share)]

    assert drawn(1, 0.3) == drawn(1, 0.3)
    assert drawn(1, 0.3) != drawn(1, 0.4) and drawn(1, 0.3) != drawn(2, 0.3)


TOGETHER = """
import json, sys
from pathlib import Path
from types import SimpleNamespace
from distill.recipe import Optimization, Recipe, Term
from distill.supernet import teach_supernet
from distill.supernet_lesson import SupernetLesson
from distill.tasks import load_task
from distill.team import assembled
from distill.teachers import prepare_teacher
from distill.trainer import follow
from nas.members import Members
from nas.supernet_work import parts_of_space
from runs.progress import Progress
from students.space import space
sys.path.append(sys.argv[2])
from tiny_kinds import write, write_bert
from tiny_search import SPACE

here, quiet = Path(sys.argv[1]), Progress(quiet=True)
with assembled() as us:
    taught, drawn = [], SupernetLesson._students

    def watched(lesson, share_done):
        models = drawn(lesson, share_done)
        taught.append([model.config.spec_object.to_json() for model in models])
        return models

    SupernetLesson._students = watched
    if us.rank == 0:
        data = load_task(str(write("classification", here)), quiet, None)
        settings = Optimization(3e-3, epochs=1)
        teacher = prepare_teacher(str(write_bert(here / "bert")), data, quiet, training=settings)
        (here / "space.yaml").write_text(SPACE)
        spec = teacher.model().config.spec_object
        sizes = (spec.vocabulary_size, spec.maximum_positions, spec.token_types, spec.head)
        parts = parts_of_space(Members(space(here / "space.yaml"), *sizes))
        recipe = Recipe("tiny", (Term("logits"),), settings)
        teach_supernet(teacher, data, parts, recipe, here / "net", steps=6, sampling="batch-wise", count=2)
    else:
        follow()
    Path(here, f"taught-{us.rank}.json").write_text(json.dumps(taught))
threads = [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]
assert not [name for name in threads if "gloo" in name], f"{threads}: they may end this process badly"
"""


def test_two_processes_teach_parts_of_their_own(tmp_path: Path) -> None:
    """Batch-wise sampling: what one process draws the other does not, and both learn into one supernet."""
    script, support = tmp_path / "together.py", Path(__file__).parents[1] / "support"
    script.write_text(TOGETHER)
    line = [sys.executable, *TORCHRUN, sys.executable, "-P", str(script), str(tmp_path), str(support)]
    process = start(line, tmp_path / "home", tmp_path)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    one, two = (json.loads((tmp_path / f"taught-{rank}.json").read_text()) for rank in (0, 1))
    assert len(one) == len(two) == 6 and all(len(step) == 2 for step in one + two)
    assert all(ours != theirs for ours, theirs in zip(one, two, strict=True))
    assert load_student(tmp_path / "net").config.spec_object.hidden_width == 24


def test_the_start_answers_as_the_teacher(teacher: Teacher, task: Task, parts: Parts) -> None:
    room = classroom(teacher, task)
    found = answer(started(room, parts.supernet), room.validation, task.kind)
    assert np.allclose(found, np.asarray(room.validation_logits), atol=1e-3)


def test_parts_become_better(teacher: Teacher, task: Task, parts: Parts, tmp_path: Path) -> None:
    spec = member(parts.whole, 16, 16)
    teach_supernet(teacher, task, parts, RECIPE, tmp_path / "untaught", steps=1)
    teach_supernet(teacher, task, parts, RECIPE, tmp_path / "taught", steps=60)
    before, after = (judge_part(spec, tmp_path / name, teacher, task) for name in ("untaught", "taught"))
    assert after.kl < 0.85 * before.kl
    with pytest.raises(UserError, match="made with other settings"):
        teach_supernet(teacher, task, parts, RECIPE, tmp_path / "taught", steps=61)


@pytest.mark.parametrize("objective", ["logits", "hidden"])
def test_a_killed_one_ends_with_the_same_weights(
    objective: str, teacher: Teacher, task: Task, parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = replace(RECIPE, terms=(Term(objective, end=0.5), Term("logits", start=0.5)))
    monkeypatch.setattr("distill.supernet.CHECKPOINT_STEPS", 7)
    teach_supernet(teacher, task, parts, recipe, tmp_path / "whole", steps=24)

    class Killed(BaseException):
        pass

    def dying(lesson: SupernetLesson, share_done: float) -> object:
        if share_done > 0.6:
            raise Killed
        return students(lesson, share_done)

    students = SupernetLesson._students
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(SupernetLesson, "_students", dying)
        teach_supernet(teacher, task, parts, recipe, tmp_path / "killed", steps=24)
    teach_supernet(teacher, task, parts, recipe, tmp_path / "killed", steps=24)
    one, two = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "killed"))
    assert one == two


def test_parts_of_every_depth_find_what_they_look_at_stored(
    teacher: Teacher, task: Task, parts: Parts, tmp_path: Path
) -> None:
    """A shallower part learns from other layers of the teacher than the whole does."""
    deep = replace(parts.whole, layers=(*parts.whole.layers, *parts.whole.layers[:1]))
    every = replace(parts, supernet=deep, members=lambda count, rng: [member(deep, 12, 12)] * count)
    recipe = replace(RECIPE, terms=(Term("hidden", matching="first"), Term("hidden", matching="last")))
    teach_supernet(teacher, task, every, recipe, tmp_path / "deep", steps=40)
    moving = replace(RECIPE, optimization=replace(RECIPE.optimization, adversarial=0.2))
    with pytest.raises(UserError, match="moves words"):
        teach_supernet(teacher, task, parts, moving, tmp_path / "moving", steps=2)


def test_one_wider_and_deeper_than_its_teacher(teacher: Teacher, task: Task, parts: Parts, tmp_path: Path) -> None:
    """What the teacher has not is small and random at first, and learns."""
    layer = TransformerLayer(5, 40, 80)
    whole = replace(parts.whole, embedding_width=40, hidden_width=40, layers=(layer,) * 4)
    every = Parts("wider", whole, parts.smallest, lambda count, rng: [member(whole, 32, 64)] * count)
    teach_supernet(teacher, task, every, RECIPE, tmp_path / "untaught", steps=1)
    teach_supernet(teacher, task, every, RECIPE, tmp_path / "taught", steps=60)
    for spec in (whole, member(whole, 32, 64)):
        before, after = (judge_part(spec, tmp_path / name, teacher, task) for name in ("untaught", "taught"))
        assert after.kl < 0.85 * before.kl


def test_a_supernet_that_was_taught_anew_is_read_anew(
    teacher: Teacher, task: Task, parts: Parts, tmp_path: Path
) -> None:
    spec, found = member(parts.whole, 16, 16), []
    for steps in (1, 60):
        shutil.rmtree(tmp_path / "net", ignore_errors=True)
        teach_supernet(teacher, task, parts, RECIPE, tmp_path / "net", steps=steps)
        found.append(judge_part(spec, tmp_path / "net", teacher, task).kl)
    assert found[1] < found[0]


def test_layers_are_evenly_apart() -> None:
    assert depth_map(2, 6) == (2, 5) and depth_map(6, 6) == tuple(range(6))
    assert MATCHINGS["uniform"](2, 6) == ((0, (2,)), (1, (5,)))
