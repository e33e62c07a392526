"""The leading part of a supernet is the student that stands in its first channels, heads and neurons."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from runs.errors import UserError
from students.leading import leading_part, require_within, shared_part
from students.model import build_student, encoder_of
from students.space import SPACES, space
from students.spec import FeedForwardLayer, Head, StudentSpec, TransformerLayer, uniform_spec

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


@pytest.mark.parametrize("name", [name for name in SPACES if not space(name).typed])
def test_a_part_that_shares_answers_as_the_student_cut_out(name: str) -> None:
    """Of every space: outputs, hidden states and gradients."""
    members = space(name)
    sizes = {"vocabulary_size": 30, "maximum_positions": 20, "token_types": 2, "head": SUPERNET.head}
    net = build_student(members.widest(**sizes), 1)
    ids = torch.randint(1, 30, (2, 9), generator=torch.Generator().manual_seed(0))
    for spec in members.decode(members.sample(2, np.random.default_rng(0)), **sizes):
        layer_map = uniform(len(spec.layers), len(net.config.spec_object.layers))
        alone, shared = leading_part(net, spec, layer_map), shared_part(net, spec, layer_map)
        ours, theirs = (model(ids, output_hidden_states=True) for model in (shared, alone))
        assert torch.allclose(ours.logits, theirs.logits, atol=1e-5)
        for one, other in zip(ours.hidden_states, theirs.hidden_states, strict=True):
            assert torch.allclose(one, other, atol=1e-5)
        ours.logits.square().sum().backward()
        theirs.logits.square().sum().backward()
        first = encoder_of(alone).layers[0].expand.weight.grad
        found = encoder_of(net).layers[layer_map[0]].expand.weight.grad[: len(first), : first.shape[1]]
        assert float(first.abs().max()) > 0 and torch.allclose(found, first, atol=1e-5)
        net.zero_grad()


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
        ({"layers": (TransformerLayer(3, 18, 32), FeedForwardLayer(32))}, "layer 1 of this student is of type feed-"),
        ({"embedding_width": 12}, "differ in how words become hidden states"),
    ],
)
def test_what_is_no_part_is_refused(changed: dict[str, object], complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        require_within(replace(PART, **changed), SUPERNET, (0, 1), "the supernet")
