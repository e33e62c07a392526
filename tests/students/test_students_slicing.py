"""Slicing: nothing dropped is the same function, little dropped is nearly the same, and what matters is what stays."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from slicing_world import LAYER, TEACHER, batches, cut, distance, teacher

from runs.errors import UserError
from students.importance import Importance, importance
from students.leading import leading_part
from students.model import build_student, encoder_of
from students.slicing import best_first, slice_student
from students.spec import Head, StudentSpec, TransformerLayer


def layers(*shapes: tuple[int, int, int]) -> tuple[TransformerLayer, ...]:
    return tuple(TransformerLayer(*shape) for shape in shapes)


@pytest.mark.parametrize("labels", [False, True])
@pytest.mark.parametrize(
    "changes",
    [{}, {"embedding_width": 10}, {"head": Head("none")}, {"head": Head("regression", 1)}],
    ids=["plain", "factorised", "bare", "regression"],
)
def test_same_shape_is_the_same_model(changes: dict[str, Any], labels: bool) -> None:
    spec = replace(TEACHER, **changes)
    source = teacher(spec)
    sliced = slice_student(source, spec, importance(source, batches(labels)), range(3))
    for name, weight in source.state_dict().items():
        assert torch.equal(weight, sliced.state_dict()[name]), name
    assert sliced.config.to_dict() == source.config.to_dict()


@pytest.mark.parametrize(
    "spec",
    [
        replace(TEACHER, embedding_width=16, hidden_width=16, layers=layers((3, 24, 40), (2, 16, 20))),
        replace(TEACHER, embedding_width=8, hidden_width=16, layers=layers((4, 16, 40), (4, 64, 64))),
        replace(TEACHER, embedding_width=40, hidden_width=40, layers=layers((6, 48, 80), (1, 8, 1))),
        replace(TEACHER, head=Head("none"), maximum_positions=10, token_types=1, layers=(LAYER,)),
        replace(TEACHER, head=Head("classification", 7), layers=(LAYER,) * 5),
    ],
    ids=["narrow", "factorised", "wider", "bare", "other-labels"],
)
def test_any_shape_comes_out_finite_and_repeatable(spec: StudentSpec) -> None:
    source = teacher()
    layer_map = [0, 2, 1, 1, 2][: len(spec.layers)]
    sliced, again = (cut(spec, layer_map, source) for _ in range(2))
    assert sliced.config.spec_object == spec
    assert not sliced.training
    with torch.inference_mode():
        assert torch.isfinite(sliced(batches()[0]["input_ids"])[0]).all()
    for name, weight in sliced.state_dict().items():
        assert torch.equal(weight, again.state_dict()[name]), name


@pytest.mark.parametrize(
    ("spec", "limit"),
    [
        (replace(TEACHER, layers=layers(*[(4, 32, 56)] * 3)), 0.01),
        (replace(TEACHER, layers=layers(*[(3, 24, 64)] * 3)), 0.02),
        (replace(TEACHER, layers=layers(*[(4, 24, 64)] * 3)), 0.2),
        (replace(TEACHER, embedding_width=20, hidden_width=20), 0.1),
        (replace(TEACHER, embedding_width=20), 0.1),
        (replace(TEACHER, layers=layers(*[(6, 60, 90)] * 3)), 0.05),
    ],
    ids=["ffn", "heads", "head-width", "hidden", "embedding", "wider"],
)
def test_a_little_less_is_nearly_the_same(spec: StudentSpec, limit: float) -> None:
    source = teacher()
    assert distance(source, cut(spec, range(3), source)) < limit
    assert distance(source, build_student(spec)) > 0.5


def test_dead_parts_go_first_and_cost_nothing() -> None:
    source = teacher()
    first = encoder_of(source).layers[0]
    with torch.no_grad():
        first.contract.weight[:, :24] = 0
        first.output.weight[:, 8:16] = 0
    spec = replace(TEACHER, layers=(TransformerLayer(3, 24, 40), LAYER, LAYER))
    sliced = cut(spec, range(3), source)
    assert torch.equal(encoder_of(sliced).layers[0].expand.weight, first.expand.weight[24:])
    assert distance(source, sliced) < 1e-9


def test_chosen_layers_are_the_mapped_ones() -> None:
    source = teacher()
    sliced = encoder_of(cut(replace(TEACHER, layers=(LAYER,) * 2), [2, 0], source))
    for place, layer in enumerate([2, 0]):
        for name, weight in encoder_of(source).layers[layer].state_dict().items():
            assert torch.equal(sliced.layers[place].state_dict()[name], weight), name


def test_importance_reads_tokens_not_padding() -> None:
    source = teacher()
    source.train()
    given = batches()
    found = importance(source, given)
    assert source.training
    assert all(weight.grad is None for weight in source.parameters())
    for batch in given:
        batch["input_ids"] = torch.where(batch["attention_mask"] > 0, batch["input_ids"], 5)
    again = importance(source, given)
    assert same(found, again)
    given[0]["input_ids"] = (given[0]["input_ids"] + 1) % 80
    assert not same(found, importance(source, given))


def same(a: Importance, b: Importance) -> bool:
    return all(torch.allclose(a.points[name].score, b.points[name].score, rtol=1e-4) for name in a.points)


def test_what_cannot_be_sliced_is_told() -> None:
    source = teacher()
    found = importance(source, batches())
    factorised = teacher(replace(TEACHER, embedding_width=10))
    for model, spec, layer_map, reason in (
        (source, TEACHER, [0, 1], "names 2 layers"),
        (source, TEACHER, [0, 1, 3], "leaves"),
        (source, replace(TEACHER, vocabulary_size=70), range(3), "70 words"),
        (source, replace(TEACHER, maximum_positions=17), range(3), "positions"),
        (factorised, TEACHER, range(3), "words are 10 wide"),
    ):
        with pytest.raises(UserError, match=reason):
            slice_student(model, spec, found, layer_map)
    with pytest.raises(UserError, match="at least one batch"):
        importance(source, [])


@pytest.mark.parametrize(
    "changes",
    [{}, {"embedding_width": 10}, {"head": Head("tokens", 3)}, {"head": Head("masked-lm")}],
    ids=["plain", "factorised", "tokens", "masked-lm"],
)
def test_in_the_order_of_worth_it_answers_as_before(changes: dict[str, Any]) -> None:
    spec = replace(TEACHER, **changes)
    source = teacher(spec)
    found = importance(source, batches(labels=False))
    ordered = slice_student(source, spec, found, range(3), best_first)
    ids = batches()[0]["input_ids"]
    with torch.inference_mode():
        ours, theirs = ordered(ids)[0], source(ids)[0]
    assert torch.allclose(ours, theirs, atol=1e-4)
    points, layer = found.points, encoder_of(ordered).layers[1]
    neurons = torch.sort(points["layers.1.contract.in"].score, descending=True, stable=True).indices
    assert torch.equal(layer.expand.bias, encoder_of(source).layers[1].expand.bias[neurons])
    again = {name: point.score for name, point in importance(ordered, batches(labels=False)).points.items()}
    assert (again["layers.1.contract.in"].diff() <= 1e-9).all(), "the most important neuron stands first"
    heads = again["layers.1.output.in"].view(TEACHER.layers[1].heads, -1).sum(1)
    assert (heads.diff() <= 1e-9).all()


def test_the_teacher_is_a_part_of_a_supernet_with_wider_heads() -> None:
    source, wide = teacher(), replace(TEACHER, layers=layers(*[(6, 96, 80)] * 3))
    supernet = slice_student(source, wide, importance(source, batches()), range(3), best_first, rescale=False)
    part = leading_part(supernet, TEACHER, range(3))
    ids = batches()[0]["input_ids"]
    with torch.inference_mode():
        assert torch.allclose(part(ids)[0], source(ids)[0], atol=1e-4)
