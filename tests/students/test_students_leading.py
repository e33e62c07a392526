"""The leading part of a supernet is the student that stands in its first channels, heads and neurons."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from runs.errors import UserError
from students.leading import leading_part, require_within, shared_part
from students.model import build_student, encoder_of
from students.space import SPACES, space
from students.spec import (
    BottleneckLayer,
    ConvolutionLayer,
    FeedForwardLayer,
    Head,
    Layer,
    StudentSpec,
    TransformerLayer,
    uniform_spec,
)
from students.supernet import layers_of_part, places_of, sizes

SIZES = {"vocabulary_size": 30, "maximum_positions": 20, "head": Head("classification", 3)}
SUPERNET = uniform_spec(4, 24, 4, 48, **SIZES)
PART = replace(
    uniform_spec(2, 18, 3, 32, **SIZES), layers=(TransformerLayer(3, 15, 32), TransformerLayer(2, 12, 20))
)  # fmt: skip


def uniform(mine: int, theirs: int) -> tuple[int, ...]:
    """Layers evenly apart, the last of them last."""
    return tuple((n + 1) * theirs // mine - 1 for n in range(mine))


def channels(layer: TransformerLayer) -> torch.Tensor:
    """Where the channels of a layer's heads stand among those of the supernet's heads of 6."""
    width = layer.qkv_width // layer.heads
    return torch.cat([6 * head + torch.arange(width) for head in range(layer.heads)])


def without_the_rest(spec: StudentSpec, layer_map: tuple[int, ...]) -> torch.nn.Module:
    """The supernet with 0 wherever the part has nothing, so that only norms and scaling tell the two apart."""
    model = build_student(SUPERNET, 1)
    for place, origin in enumerate(layer_map):
        layer, module = spec.layers[place], encoder_of(model).layers[origin]
        kept = torch.zeros(24, dtype=torch.bool)
        kept[channels(layer)] = True
        with torch.no_grad():
            for name in ("query", "key", "value"):
                getattr(module, name).weight[~kept] = 0
                getattr(module, name).bias[~kept] = 0
    return model


@pytest.mark.parametrize("head", ["none", "classification", "tokens", "spans", "masked-lm"])
def test_the_whole_is_its_own_leading_part(head: str) -> None:
    labels = {"tokens": 3, "classification": 3, "spans": 2}.get(head)
    spec = replace(SUPERNET, head=Head(head, labels) if labels else Head(head))
    model = build_student(spec, 1)
    again = leading_part(model, spec, range(4)).state_dict()
    assert all(torch.equal(weight, again[name]) for name, weight in model.state_dict().items())


def test_a_part_has_the_leading_weights() -> None:
    model = build_student(SUPERNET, 1)
    part, layer_map = leading_part(model, PART, (1, 3)), (1, 3)
    ours, theirs = encoder_of(part), encoder_of(model)
    assert torch.equal(ours.embeddings.word.weight, theirs.embeddings.word.weight[:, :18])
    for place, origin in enumerate(layer_map):
        mine, whole, at = ours.layers[place], theirs.layers[origin], channels(PART.layers[place])
        for name in ("query", "key", "value"):
            assert torch.equal(getattr(mine, name).weight, getattr(whole, name).weight[at][:, :18])
            assert torch.equal(getattr(mine, name).bias, getattr(whole, name).bias[at])
        assert torch.equal(mine.output.weight, whole.output.weight[:18][:, at])
        neurons = PART.layers[place].ffn_width
        assert torch.equal(mine.contract.weight, whole.contract.weight[:18, :neurons])
        assert torch.equal(mine.ffn_norm.bias, whole.ffn_norm.bias[:18])
    assert torch.equal(part.head.pooler.weight, model.head.pooler.weight[:18, :18])


def test_it_attends_as_the_supernet_would_with_those_heads_alone() -> None:
    spec = replace(uniform_spec(2, 24, 3, 48, **SIZES), layers=(TransformerLayer(3, 18, 48),) * 2)
    model = without_the_rest(spec, (0, 1))
    ids = torch.randint(1, 30, (2, 7), generator=torch.Generator().manual_seed(0))
    part = leading_part(model, spec, (0, 1)).eval()
    with torch.no_grad():
        ours = encoder_of(part)(ids)
        # Heads of zeros give their values' mean, which is 0 as well.
        theirs = encoder_of(model).eval()
        theirs.layers = theirs.layers[:2]
        found = theirs(ids)
    assert torch.allclose(ours.last_hidden_state, found.last_hidden_state, atol=1e-6)


@pytest.mark.parametrize("name", SPACES.names())
def test_a_part_that_shares_answers_as_the_student_cut_out(name: str) -> None:
    """Of every space: outputs, hidden states and gradients."""
    members = space(name)
    sizes = {"vocabulary_size": 30, "maximum_positions": 20, "token_types": 2, "head": SUPERNET.head}
    net = build_student(members.supernet(**sizes), 1)
    ids = torch.randint(1, 30, (2, 9), generator=torch.Generator().manual_seed(0))
    for spec in members.decode(members.sample(2, np.random.default_rng(0)), **sizes):
        layer_map = uniform(len(spec.layers), places_of(net.config.spec_object))
        origin = layers_of_part(spec, net.config.spec_object, layer_map)[0]
        alone, shared = leading_part(net, spec, layer_map), shared_part(net, spec, layer_map)
        ours, theirs = (model(ids, output_hidden_states=True) for model in (shared, alone))
        assert torch.allclose(ours.logits, theirs.logits, atol=1e-5)
        for one, other in zip(ours.hidden_states, theirs.hidden_states, strict=True):
            assert torch.allclose(one, other, atol=1e-5)
        ours.logits.square().sum().backward()
        theirs.logits.square().sum().backward()
        name, first = first_neurons(encoder_of(alone).layers[0])
        found = encoder_of(net).layers[origin].get_parameter(name).grad[: len(first), : first.shape[1]]
        assert float(first.abs().max()) > 0 and torch.allclose(found, first, atol=1e-5)
        net.zero_grad()


def first_neurons(layer: torch.nn.Module) -> tuple[str, torch.Tensor]:
    """The layer's first weight into neurons, whatever its type, and the gradient of it."""
    name = next(name for name, _ in layer.named_parameters() if name.endswith("expand.weight"))
    return name, layer.get_parameter(name).grad


TYPED = replace(
    SUPERNET,
    layers=(
        TransformerLayer(4, 24, 48),
        BottleneckLayer(12, 4, 24, 32, 2),
        FeedForwardLayer(40, 2),
        ConvolutionLayer(7, 36),
    )
    * 2,
)


@pytest.mark.parametrize(
    "layer",
    [
        TransformerLayer(3, 15, 32),
        BottleneckLayer(6, 2, 10, 16, 1),
        FeedForwardLayer(20, 1),
        ConvolutionLayer(3, 24),
        TransformerLayer(4, 24, 48),
        BottleneckLayer(12, 4, 24, 32, 2),
        FeedForwardLayer(40, 2),
        ConvolutionLayer(7, 36),
    ],
    ids=lambda layer: f"{layer.type} {sizes(layer)['ffn_width']}",
)
def test_a_part_of_every_type_shares_the_weights_of_its_own(layer: Layer) -> None:
    """It answers as the student cut out, and what it learns reaches the layer of its type at its place alone."""
    net = build_student(TYPED, 1)
    last = TransformerLayer(4, 24, 48)
    spec = replace(uniform_spec(2, 18, 3, 32, **SIZES), layers=(layer, last))
    alone, shared = leading_part(net, spec, (0, 1)), shared_part(net, spec, (0, 1))
    ids = torch.randint(1, 30, (2, 9), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)
    mask[1, 5:] = 0
    ours, theirs = (model(ids, attention_mask=mask, output_hidden_states=True) for model in (shared, alone))
    for one, other in zip(ours.hidden_states, theirs.hidden_states, strict=True):
        assert torch.allclose(one, other, atol=1e-6)
    ours.logits.square().sum().backward()
    origin = layers_of_part(spec, TYPED, (0, 1))
    assert TYPED.layers[origin[0]].type == layer.type and origin[0] < 4 and origin[1] == 4
    touched = [
        number for number, one in enumerate(encoder_of(net).layers) if any(w.grad is not None for w in one.parameters())
    ]
    assert touched == sorted(origin)


def test_of_a_kernel_the_middle_is_taken() -> None:
    net = build_student(TYPED, 1)
    spec = replace(uniform_spec(1, 18, 3, 32, **SIZES), layers=(ConvolutionLayer(3, 24),))
    part, whole = (encoder_of(model).layers for model in (leading_part(net, spec, (1,)), net))
    assert torch.equal(part[0].depthwise.weight, whole[7].depthwise.weight[:18, :, 2:5])


def test_layers_that_share_lie_where_the_first_of_them_does() -> None:
    layer = TransformerLayer(3, 15, 32)
    spec = replace(uniform_spec(3, 18, 3, 32, **SIZES), layers=(layer,) * 3, sharing=(0, 0, 2))
    net, ids = build_student(SUPERNET, 1), torch.ones((1, 4), dtype=torch.long)
    alone, shared = leading_part(net, spec, (0, 1, 3)), shared_part(net, spec, (0, 1, 3))
    assert torch.allclose(alone(ids).logits, shared(ids).logits, atol=1e-6)
    layers = encoder_of(alone).layers
    assert layers[1].expand.weight is layers[0].expand.weight
    assert torch.equal(layers[0].expand.weight, encoder_of(net).layers[0].expand.weight[:32, :18])
    shared(ids).logits.sum().backward()
    assert encoder_of(net).layers[1].expand.weight.grad is None


def test_what_a_part_learns_the_supernet_learns() -> None:
    net = build_student(SUPERNET, 1)
    before = encoder_of(net).layers[1].query.weight.detach().clone()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    ids = torch.randint(1, 30, (2, 7), generator=torch.Generator().manual_seed(0))
    shared = shared_part(net, PART, (1, 3))(ids).logits
    shared.square().sum().backward()
    optimizer.step()
    moved = encoder_of(net).layers[1].query.weight.detach() != before
    at = channels(PART.layers[0])
    rest = torch.ones(24, dtype=torch.bool)
    rest[at] = False
    assert moved[at][:, :18].any() and not moved[rest].any() and not moved[:, 18:].any()
    assert encoder_of(net).layers[0].query.weight.grad is None
    assert not torch.equal(shared_part(net, PART, (1, 3))(ids).logits, shared)
    with pytest.raises(UserError, match="has its head"):
        shared_part(net, replace(PART, head=Head("classification", 5)), (1, 3))


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"hidden_width": 30, "embedding_width": 30}, "30 hidden channels and the supernet 24"),
        ({"vocabulary_size": 29}, "29 words and the supernet 30"),
        ({"layers": (TransformerLayer(6, 18, 32),) * 2}, "6 heads in layer 0 and the supernet 4"),
        ({"layers": (TransformerLayer(3, 24, 32),) * 2}, "8 channels a head in layer 0 and the supernet 6"),
        ({"layers": (TransformerLayer(3, 18, 64),) * 2}, "64 neurons in layer 0 and the supernet 48"),
        (
            {"layers": (TransformerLayer(3, 18, 32), FeedForwardLayer(32))},
            "layer 1 of this student is of type feed-forward, and the supernet has transformers alone",
        ),
        ({"embedding_width": 12}, "differ in how words become hidden states"),
    ],
)
def test_what_is_no_part_is_refused(changed: dict[str, object], complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        require_within(replace(PART, **changed), SUPERNET, (0, 1), "the supernet")


@pytest.mark.parametrize(
    ("layer", "complaint"),
    [
        (ConvolutionLayer(9, 24), "9 tokens in the kernel in layer 0 and the supernet 7"),
        (FeedForwardLayer(20, 3), "3 feed-forwards in layer 0 and the supernet 2"),
        (BottleneckLayer(13, 4, 24, 32), "13 inner channels in layer 0 and the supernet 12"),
    ],
)
def test_what_is_no_part_of_another_type_is_refused(layer: Layer, complaint: str) -> None:
    spec = replace(uniform_spec(1, 18, 3, 32, **SIZES), layers=(layer,))
    with pytest.raises(UserError, match=complaint):
        require_within(spec, TYPED, (0,), "the supernet")
    uneven = replace(TYPED, layers=TYPED.layers[:5])
    with pytest.raises(UserError, match="no supernet: it has not the same types of layer at every place"):
        require_within(spec, uneven, (0,), "the supernet")
