"""A supernet that grows: where neurons are made use of, without heads that are alike, and the same after a kill."""

from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from distill.classroom import classroom
from distill.examples import Task
from distill.growth import Growing, GrowingLesson, Growth, require_growing
from distill.head_likeness import alignment, distinct_heads
from distill.recipe import Optimization, Recipe, Term
from distill.supernet import caps_of, started, teach_supernet
from distill.supernet_lesson import Parts, SupernetLesson
from distill.teachers import Teacher
from nas.members import Members
from nas.supernet_work import confined, parts_of_space
from runs.errors import UserError
from students.caps import Caps
from students.leading import lead_with_heads
from students.model import build_student, encoder_of, load_student
from students.space import SearchSpace, space
from students.spec import Head, StudentSpec, TransformerLayer

SPACE = """
layers: [1, 2]
hidden: [24]
activation: [gelu]
alike: false
heads: [1, 2, 4]
qkv: [6 per head]
ffn: [8, 16, 24, 32]
types: [transformer, narrow bottleneck to 1/3]
sharing: [1, 2]
"""
RECIPE = Recipe("tiny", (Term("elm-output"), Term("logits")), Optimization(3e-3, epochs=1))

Grower = Callable[..., Growing]


@pytest.fixture
def grower(teacher: Teacher, tmp_path: Path) -> Grower:
    (tmp_path / "grown.yaml").write_text(SPACE)
    spec = teacher.model().config.spec_object
    sizes = (spec.vocabulary_size, spec.maximum_positions, spec.token_types, spec.head)
    members = Members(space(tmp_path / "grown.yaml"), *sizes)

    def grow(target: int | None = None, **rules: Any) -> Growing:
        def parts(caps: Caps) -> Parts:
            return parts_of_space(confined(members, caps))

        return Growing(Growth(**rules), members.space, parts, members.specs, target)

    return grow


def whole_of(growing: Growing) -> Parts:
    return growing.parts(growing._alike(4, 32))


def test_linear_alignment_is_the_published_one() -> None:
    """‖YᵀX‖² / (‖XᵀX‖ ‖YᵀY‖) of centred activations, and by Gram matrices of the samples (Kornblith et al. 2019)."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(200, 12)) @ rng.normal(size=(12, 12)) + 3
    found = alignment(torch.from_numpy(np.cov(values.T, bias=True)), 3).numpy()
    centre = np.eye(200) - 1 / 200
    grams = [centre @ values[:, 4 * n : 4 * n + 4] @ values[:, 4 * n : 4 * n + 4].T @ centre for n in range(3)]
    for a in range(3):
        for b in range(3):
            norms = np.linalg.norm(grams[a]) * np.linalg.norm(grams[b])
            assert found[a, b] == pytest.approx((grams[a] * grams[b]).sum() / norms)


@pytest.fixture
def four_heads(teacher: Teacher) -> Any:
    of = teacher.model().config.spec_object
    spec = StudentSpec(
        24, 24, (TransformerLayer(4, 24, 32),) * 2, vocabulary_size=of.vocabulary_size,
        maximum_positions=of.maximum_positions, token_types=of.token_types, head=Head("classification", 2),
    )  # fmt: skip
    return build_student(spec, seed=3, label_names=("a", "b"))


def test_a_head_that_does_what_an_earlier_does_is_found(four_heads: Any, teacher: Teacher, task: Task) -> None:
    texts = classroom(teacher, task).validation
    layer = encoder_of(four_heads).layers[1]
    before = distinct_heads(four_heads, texts, 0.999)
    with torch.no_grad():
        for name in ("query", "key", "value"):
            module = getattr(layer, name)
            for parameter in (module.weight, module.bias):
                parameter[12:18] = parameter[:6]
    assert before == ((0, 1, 2, 3), (0, 1, 2, 3))
    assert distinct_heads(four_heads, texts, 0.999) == ((0, 1, 2, 3), (0, 1, 3))
    assert distinct_heads(four_heads, texts, -1.0) == ((0,), (0,)), "everything is like the first"


def test_heads_in_another_order_compute_the_same(four_heads: Any, teacher: Teacher, task: Task) -> None:
    batch = classroom(teacher, task).validation.batch(range(5))
    given = batch["input_ids"], batch["attention_mask"], batch["token_type_ids"]
    before, layer = four_heads(*given).logits, encoder_of(four_heads).layers[0]
    third = layer.value.weight[12:18].clone()
    lead_with_heads(layer, (2, 0))
    assert torch.equal(layer.value.weight[:6], third)
    assert torch.allclose(four_heads(*given).logits, before, atol=1e-6)


def test_most_components_are_widened_of_each_type(grower: Grower) -> None:
    growing = grower(widened=0.5)
    caps = growing.first
    assert caps == Caps(((4, 4), (4, 4)), ((8, 8), (8, 8)))
    caps = growing.widened(caps, [[5, 1], [3, 2]])
    assert caps.ffn == ((16, 8), (8, 16))
    for _ in range(2):
        caps = growing.widened(caps, [[5, 1], [3, 2]])
    assert caps.ffn == ((32, 8), (8, 32))
    # One that is as wide as can be leaves its turn to the next.
    assert growing.widened(caps, [[5, 1], [3, 2]]).ffn == ((32, 16), (16, 32))
    assert grower(dimension=False).first.ffn == ((32, 32), (32, 32))


def test_heads_fall_to_a_number_that_divides_the_width(grower: Grower) -> None:
    growing = grower()
    caps = growing.without_doubles(growing.first, [[4, 3], [2, 1]])
    assert caps.heads == ((4, 2), (2, 1))
    assert growing.without_doubles(caps, [[4, 4], [4, 4]]) == caps, "what was given up does not come back"
    assert growing.without_doubles(caps, [[0, 0], [0, 0]]) == caps, "layers without attention"


def test_it_stops_at_the_target(grower: Grower) -> None:
    growing = grower()
    least, most = growing.mean_parameters(growing.first), growing.mean_parameters(growing._alike(4, 32))
    assert growing.wanted() == pytest.approx((least + most) / 2) and least < most
    assert grower(until=0.25).wanted() == pytest.approx(0.75 * least + 0.25 * most)
    assert grower(12345).wanted() == 12345


def lesson(growing: Growing, teacher: Teacher, task: Task) -> GrowingLesson:
    room, whole = classroom(teacher, task), whole_of(growing)
    found = GrowingLesson(
        started(room, whole.supernet), RECIPE.terms, room.model, whole, sampling="uniform", count=1, steps=20,
        growing=growing,
    )  # fmt: skip
    found.look_at(room.train)
    return found


def test_rounds_are_evenly_apart_and_end_when_there_is_enough(grower: Grower, teacher: Teacher, task: Task) -> None:
    growing = grower(heads=False)
    taught = lesson(growing, teacher, task)
    seen = []
    for step in range(20):
        (part,) = taught._students(step / 20)
        for layer in part.config.spec_object.layers:
            assert layer.ffn_width <= max(map(max, taught.caps.ffn))
        seen.append(sum(map(sum, taught.caps.ffn)))
    assert seen[:3] == [32, 32, 48] and seen == sorted(seen), "every second step, of each type one layer"
    assert growing.mean_parameters(taught.caps) >= growing.wanted()
    assert bool(taught.grown) and seen[-1] < 4 * 32
    assert taught.caps.heads == ((4, 4), (4, 4))
    none = lesson(grower(1, heads=False), teacher, task)
    for step in range(20):
        none._students(step / 20)
    assert none.caps == growing.first, "the target is met before it begins"


def test_heads_that_differ_come_first(grower: Grower, teacher: Teacher, task: Task) -> None:
    taught = lesson(grower(dimension=False), teacher, task)
    layer = encoder_of(taught.student).layers[2]
    with torch.no_grad():
        for name in ("query", "key", "value"):
            module = getattr(layer, name)
            for parameter in (module.weight, module.bias):
                parameter[6:12] = parameter[:6]
                parameter[18:24] = parameter[:6]
    third = layer.value.weight[12:18].clone()
    taught._students(0.15)
    assert taught.caps.heads[1][0] == 2 and torch.equal(layer.value.weight[6:12], third)
    assert taught.caps.ffn == ((32, 32), (32, 32))


def test_a_killed_one_ends_with_the_same_supernet(
    grower: Grower, teacher: Teacher, task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("distill.supernet.CHECKPOINT_STEPS", 7)
    growing = grower(alike=0.7, until=0.8)
    teach = partial(
        teach_supernet, teacher, task, whole_of(growing), RECIPE, steps=24, sampling="uniform", count=1, growing=growing
    )
    teach(tmp_path / "whole")

    class Killed(BaseException):
        pass

    def dying(lesson: SupernetLesson, share_done: float) -> object:
        if share_done > 0.6:
            raise Killed
        return students(lesson, share_done)

    students = GrowingLesson._students
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(GrowingLesson, "_students", dying)
        teach(tmp_path / "killed")
    teach(tmp_path / "killed")
    one, two = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "killed"))
    assert one == two
    caps = caps_of(tmp_path / "whole")
    assert caps is not None and caps == caps_of(tmp_path / "killed") and caps != growing.first
    supernet = load_student(tmp_path / "whole").config.spec_object
    assert {layer.ffn_width for layer in supernet.layers} == {32}, "the whole of it is kept"
    with pytest.raises(UserError, match="made with other settings"):
        teach_supernet(teacher, task, whole_of(growing), RECIPE, tmp_path / "whole", steps=24, sampling="uniform",
                       count=1, growing=replace(growing, target=1))  # fmt: skip


@pytest.mark.parametrize("name", ["hybrid", "kd-nas", "autotinybert-kd"])
def test_spaces_that_cannot_grow_are_refused(name: str) -> None:
    with pytest.raises(UserError, match="cannot grow"):
        require_growing(space(name))


def test_a_layer_type_that_is_there_twice_cannot_grow(tmp_path: Path) -> None:
    (tmp_path / "twice.yaml").write_text(SPACE.replace("transformer, ", "bottleneck to 1/2, "))
    with pytest.raises(UserError, match="no layer type twice"):
        require_growing(space(tmp_path / "twice.yaml"))


def test_every_number_of_its_rules_counts(grower: Grower) -> None:
    said = grower().to_json()
    assert said == {**asdict(Growth()), "target": None}
    members: SearchSpace = grower().space
    require_growing(members)
