"""Distilling into other layer types: what they have is taken out, what they lack is said."""

import pytest
import torch

from distill.batches import Batch
from distill.features import extract
from distill.initialization import Source, check_start, find_initialization, teacher_layers
from distill.recipe_file import RECIPES
from runs.errors import UserError
from students.importance import Importance, importance
from students.model import build_student, encoder_of
from students.slicing import slice_student
from students.spec import BottleneckLayer, ConvolutionLayer, FeedForwardLayer, Head, StudentSpec, TransformerLayer

LAYER = TransformerLayer(2, 16, 20)
PLAIN = StudentSpec(16, 16, (LAYER,) * 3, 40, 12, head=Head("classification", 2))
ATTENDING = StudentSpec(16, 16, (LAYER, BottleneckLayer(8, 2, 12, 10)), 40, 12, head=PLAIN.head)
MIXED = StudentSpec(16, 16, (LAYER, ConvolutionLayer(3, 20), FeedForwardLayer(20)), 40, 12, head=PLAIN.head)


@pytest.fixture
def tokens() -> Batch:
    mask = torch.ones(4, 6, dtype=torch.long)
    mask[2:, 4:] = 0
    ids = torch.randint(40, (4, 6), generator=torch.Generator().manual_seed(0))
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": torch.zeros_like(ids)}


def test_bottlenecks_have_queries_and_scores(tokens: Batch) -> None:
    seen = extract(build_student(ATTENDING), tokens, frozenset({"attention_scores", "queries", "values"}))
    assert [part.shape for part in seen.queries] == [(4, 6, 16), (4, 6, 12)]
    assert [scores.shape for scores in seen.attention_scores] == [(4, 2, 6, 6)] * 2


def test_hidden_states_are_had_of_every_layer_type(tokens: Batch) -> None:
    assert len(extract(build_student(MIXED), tokens, frozenset({"hidden_states"})).hidden_states) == 4


def test_layers_without_attention_are_named(tokens: Batch) -> None:
    with pytest.raises(UserError, match="layer 1 of this model is of type convolution and has no attention"):
        extract(build_student(MIXED), tokens, frozenset({"attention_scores"}))


def test_features_of_shared_layers_stay_apart(tokens: Batch) -> None:
    spec = StudentSpec(16, 16, PLAIN.layers, 40, 12, head=PLAIN.head, sharing=(0, 0, 2))
    seen = extract(build_student(spec), tokens, frozenset({"keys"}))
    assert len(seen.keys) == 3 and not torch.equal(seen.keys[0], seen.keys[1])


def test_only_transformers_are_weighed_and_cut_from(tokens: Batch) -> None:
    batch = {name: tokens[name] for name in ("input_ids", "attention_mask")}
    with pytest.raises(UserError, match="layer 1 of this student is of type convolution: importance"):
        importance(build_student(MIXED), [batch])
    weighed = importance(build_student(PLAIN), [batch])
    with pytest.raises(UserError, match="layer 1 of this student is of type convolution: slicing"):
        slice_student(build_student(MIXED), PLAIN, weighed, (0, 1, 2))


@pytest.mark.parametrize("name", RECIPES.names())
def test_every_recipe_can_start_students_of_any_layers(name: str, tokens: Batch) -> None:
    start, teacher = RECIPES[name].initialization, build_student(PLAIN, seed=1)
    weighed = importance(teacher, [{name: tokens[name] for name in ("input_ids", "attention_mask")}])
    for spec in (PLAIN, MIXED, ATTENDING):
        check_start(start, spec, PLAIN)
        source = Source(teacher, lambda: weighed, tuple(range(len(spec.layers))))
        student = find_initialization(start)(spec, source)
        assert student.config.spec_object == spec
        same = torch.equal(encoder_of(student).embeddings.word.weight, encoder_of(teacher).embeddings.word.weight)
        assert same == (start != "random"), "it is cut from the teacher"


def test_shared_layers_start_as_the_first_of_them() -> None:
    def never() -> Importance:
        raise AssertionError("whole layers need no importance")

    teacher = build_student(PLAIN, seed=3)
    spec = StudentSpec(16, 16, PLAIN.layers, 40, 12, head=PLAIN.head, sharing=(0, 0, 2))
    student = teacher_layers(spec, Source(teacher, never, (0, 1, 2)))
    ours, theirs = encoder_of(student).layers, encoder_of(teacher).layers
    for place, source in enumerate((0, 0, 2)):
        assert torch.equal(ours[place].query.weight, theirs[source].query.weight)
