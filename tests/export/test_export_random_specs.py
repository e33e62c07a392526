"""Every spec exports: random students over all layer types, heads and sharings answer as in PyTorch."""

import os
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from random_specs import DRAWN, random_spec

from export.form import Form
from export.graph import stack_graph, student_graph
from export.items import Stack, item_from_json, item_key, item_to_json
from export.part import DIALECTS
from export.verify import open_graph, random_batches, verify
from export.weights import item_weights, module_weights, random_module
from students.layers import MASKED_SCORE
from students.model import StudentPreTrainedModel
from students.space import SPACES, space
from students.spec import (
    LAYER_TYPES,
    BottleneckLayer,
    ConvolutionLayer,
    FeedForwardLayer,
    Head,
    LayerBlock,
    StudentSpec,
    TransformerLayer,
)

COUNT = int(os.environ.get("TAILORBIRD_RANDOM_SPECS", "40"))
"""How many random students each dialect is tried on."""

PARITY = 1e-4


def lively(spec: StudentSpec, seed: int = 0) -> StudentPreTrainedModel:
    """A student whose weights are large enough that a forgotten bias or scale shows in its answers."""
    model = random_module(spec, seed)
    with torch.no_grad():
        for name, value in model.named_parameters():
            value.mul_(1.0 if name.endswith("norm.weight") else 4.0)
    assert isinstance(model, StudentPreTrainedModel)
    return model


def check(spec: StudentSpec, form: Form, seed: int, shapes: int | None = None) -> None:
    model = lively(spec, seed)
    graph = student_graph(spec, module_weights(model), form)
    onnx.checker.check_model(graph, full_check=True)
    parity = verify(model, graph.SerializeToString(), random_batches(spec, seed)[:shapes])
    # As for real students: what is allowed grows with answers larger than 1.
    assert parity.max_abs_error <= PARITY * max(1.0, parity.largest), f"{form}, {spec.to_json()}"
    assert parity.largest > 0


def test_every_layer_type_is_drawn() -> None:
    assert set(DRAWN) == set(LAYER_TYPES)


@pytest.mark.parametrize("dialect", DIALECTS.names())
def test_random_specs_have_parity(dialect: str) -> None:
    rng = np.random.default_rng([2024, COUNT])
    for seed in range(COUNT):
        check(random_spec(rng), Form(dialect), seed)


@pytest.mark.parametrize("dialect", DIALECTS.names())
@pytest.mark.parametrize("name", SPACES.names())
def test_members_of_every_space_have_parity(name: str, dialect: str) -> None:
    members = space(name)
    sizes = {"vocabulary_size": 60, "maximum_positions": 40, "token_types": 2}
    codes = members.sample(6, np.random.default_rng(5))
    specs = members.decode(codes, **sizes, head=Head("classification", 3))
    for spec in sorted(specs, key=StudentSpec.parameters)[:2]:
        check(spec, Form(dialect), 0, shapes=2)


SHARED = StudentSpec(
    24,
    24,
    (TransformerLayer(2, 16, 40), ConvolutionLayer(3, 30), TransformerLayer(2, 16, 40), ConvolutionLayer(3, 30)),
    vocabulary_size=50,
    maximum_positions=40,
    sharing=(0, 1, 0, 1),
)

FACTORISED = StudentSpec(
    8,
    24,
    (BottleneckLayer(12, 3, 18, 20, 2, "silu"), FeedForwardLayer(30, 2)),
    vocabulary_size=50,
    maximum_positions=40,
)


@pytest.mark.parametrize("dialect", DIALECTS.names())
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_shared_weights_are_stored_once(dialect: str, precision: str) -> None:
    weights = module_weights(random_module(SHARED))
    graph = student_graph(SHARED, weights, Form(dialect, precision)).graph
    held = sum(int(np.prod(tensor.dims)) for tensor in graph.initializer)
    # Biases that one lowering folds differ from another's, but no matrix is there twice.
    matrices = [tensor for tensor in graph.initializer if len(tensor.dims) >= 2]
    contents = {(tensor.data_type, tuple(tensor.dims), tensor.raw_data) for tensor in matrices}
    assert len(contents) == len(matrices)
    apart = StudentSpec(24, 24, SHARED.layers, vocabulary_size=50, maximum_positions=40)
    whole = student_graph(apart, module_weights(random_module(apart)), Form(dialect, precision)).graph
    assert held < sum(int(np.prod(tensor.dims)) for tensor in whole.initializer)
    assert len(graph.node) == len(whole.node)


def test_layers_without_attention_can_stand_alone() -> None:
    layers = (FeedForwardLayer(24, 2, "silu"), ConvolutionLayer(1, 8, "relu"))
    for dialect in DIALECTS.names():
        check(StudentSpec(8, 16, layers, 30, 40, head=Head("none", 1)), Form(dialect), 3)


def test_weights_without_a_module_are_those_of_one() -> None:
    """What a measuring process draws, which loads no model of `transformers`, is what a student of that seed has."""
    heads = [Head("none", 1), Head("classification", 3), Head("regression", 1), Head("tokens", 5), Head("spans", 2)]
    heads.append(Head("masked-lm", 2))
    everyone: list[StudentSpec | Stack] = [replace(spec, head=head) for spec in (SHARED, FACTORISED) for head in heads]
    everyone += [Stack(LayerBlock(24, DRAWN[name](np.random.default_rng(8))), 2) for name in DRAWN]
    for item in everyone:
        drawn, held = item_weights(item, 5), module_weights(random_module(item, 5))
        assert list(drawn) == list(held)
        assert all(np.array_equal(drawn[name], held[name]) for name in held), item


@pytest.mark.parametrize("dialect", DIALECTS.names())
@pytest.mark.parametrize("name", LAYER_TYPES.names())
def test_stacks_that_are_measured_are_the_modules(name: str, dialect: str) -> None:
    stack = Stack(LayerBlock(24, DRAWN[name](np.random.default_rng(8))), 2)
    assert item_from_json(item_to_json(stack)) == stack
    assert item_key(stack).startswith(f"2x{name}-24-")
    module = random_module(stack, 1)
    hidden = np.random.default_rng(1).standard_normal((2, 9, 24)).astype(np.float32)
    mask = np.zeros((2, 1, 1, 9), dtype=np.float32)
    mask[1, ..., 5:] = MASKED_SCORE
    graph = stack_graph(stack, module_weights(module), Form(dialect))
    answer = open_graph(graph.SerializeToString(), 1).run(None, {"hidden": hidden, "mask": mask})[0]
    with torch.inference_mode():
        wanted = module(torch.from_numpy(hidden), torch.from_numpy(mask)).numpy()
    np.testing.assert_allclose(answer, wanted, atol=1e-5)
