"""Layer types beside the transformer: sizes, exact counts, what they compute, and weights shared between layers."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from random_specs import DRAWN, random_spec
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from transformers import MobileBertConfig
from transformers.models.mobilebert.modeling_mobilebert import MobileBertLayer

from runs.errors import UserError
from students.bert import bert_config
from students.layer_bottleneck import BottleneckLayerModule
from students.layers import LAYER_MODULES, additive_mask, build_block
from students.model import build_student, encoder_of, load_student
from students.spec import (
    LAYER_TYPES,
    BottleneckLayer,
    ConvolutionLayer,
    FeedForwardLayer,
    Head,
    Layer,
    LayerBlock,
    StudentSpec,
    TransformerLayer,
    layer_text,
)

HIDDEN = 24


def layers_of(name: str, count: int = 5) -> list[Layer]:
    rng = np.random.default_rng(4)
    return [DRAWN[name](rng) for _ in range(count)]


def test_every_layer_type_has_a_module() -> None:
    assert set(LAYER_MODULES) == set(LAYER_TYPES) == set(DRAWN)


@pytest.mark.parametrize("name", LAYER_TYPES.names())
def test_counts_are_those_of_the_module(name: str) -> None:
    for layer in layers_of(name):
        block = LayerBlock(HIDDEN, layer)
        module = build_block(block).eval()
        assert block.parameters() == sum(weight.numel() for weight in module.parameters())
        with FlopCounterMode(display=False) as counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
            module(torch.rand(3, 7, HIDDEN))
        assert block.flops(3, 7) == counter.get_total_flops()
        assert 0 < block.bytes_moved(1, 7, 1.0) < block.bytes_moved(1, 7, 4.0) < block.bytes_moved(2, 7, 4.0)


@pytest.mark.parametrize("name", LAYER_TYPES.names())
def test_padding_does_not_reach_a_token(name: str) -> None:
    for layer in layers_of(name):
        module = build_block(LayerBlock(HIDDEN, layer)).eval()
        hidden = torch.rand(2, 11, HIDDEN)
        attention_mask = torch.ones(2, 11, dtype=torch.long)
        attention_mask[:, 6:] = 0
        with torch.no_grad():
            padded = module(hidden, additive_mask(attention_mask))[:, :6]
            torch.testing.assert_close(padded, module(hidden[:, :6], None), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", LAYER_TYPES.names())
def test_json_brings_a_layer_back(name: str) -> None:
    for layer in layers_of(name):
        spec = StudentSpec(HIDDEN, HIDDEN, (layer,))
        again = StudentSpec.from_json(spec.to_json())
        assert again == spec and hash(again) == hash(spec)
        assert layer_text(layer).startswith(f"{layer.type} (")


@pytest.mark.parametrize("name", LAYER_TYPES.names())
def test_dropout_acts_in_training_alone(name: str) -> None:
    module = build_block(LayerBlock(HIDDEN, layers_of(name, 1)[0]), dropout=0.5)
    hidden = torch.rand(2, 5, HIDDEN)
    assert not torch.equal(module.train()(hidden), module(hidden))
    assert torch.equal(module.eval()(hidden), module(hidden))


@pytest.mark.parametrize(
    ("layer", "numbers", "said"),
    [
        (FeedForwardLayer, {"ffn_width": 0}, "FeedForwardLayer.ffn_width is 0"),
        (FeedForwardLayer, {"ffn_width": 4, "count": True}, "count is True"),
        (FeedForwardLayer, {"ffn_width": 4, "activation": "tanh"}, "unknown activation 'tanh'"),
        (BottleneckLayer, {"bottleneck_width": 8, "heads": 3, "qkv_width": 8, "ffn_width": 4}, "into 3 heads"),
        (ConvolutionLayer, {"kernel": 4, "ffn_width": 4}, "kernel of 4"),
    ],
)
def test_impossible_sizes_are_refused(layer: Any, numbers: Mapping[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        layer(**numbers)


def _copy(target: nn.Module, source: nn.Module) -> None:
    target.load_state_dict(source.state_dict())


def test_a_bottleneck_layer_is_mobilebert_s() -> None:
    config = MobileBertConfig(
        hidden_size=40,
        intra_bottleneck_size=16,
        num_attention_heads=2,
        intermediate_size=24,
        num_feedforward_networks=3,
        hidden_act="relu",
        normalization_type="layer_norm",
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        attn_implementation="eager",
    )
    theirs = MobileBertLayer(config).eval()
    with torch.no_grad():
        for value in theirs.parameters():
            value.add_(0.2 * torch.randn(value.shape, generator=torch.Generator().manual_seed(value.numel())))
    ours = BottleneckLayerModule(40, BottleneckLayer(16, 2, 16, 24, 3, "relu")).eval()
    attention = theirs.attention
    pairs: list[tuple[nn.Module, nn.Module]] = [
        (ours.matching, theirs.bottleneck.attention.dense),
        (ours.matching_norm, theirs.bottleneck.attention.LayerNorm),
        (ours.narrow, theirs.bottleneck.input.dense),
        (ours.narrow_norm, theirs.bottleneck.input.LayerNorm),
        (ours.query, attention.self.query),
        (ours.key, attention.self.key),
        (ours.value, attention.self.value),
        (ours.output, attention.output.dense),
        (ours.attention_norm, attention.output.LayerNorm),
        (ours.widen, theirs.output.bottleneck.dense),
        (ours.widen_norm, theirs.output.bottleneck.LayerNorm),
    ]
    for target, source in pairs:
        _copy(target, source)
    for mine, fed in zip(ours.feed_forwards, [*theirs.ffn, theirs], strict=True):
        _copy(mine.expand, fed.intermediate.dense)
        _copy(mine.contract, fed.output.dense)
        _copy(mine.norm, fed.output.LayerNorm)
    hidden = torch.rand(2, 9, 40)
    attention_mask = torch.ones(2, 9, dtype=torch.long)
    attention_mask[1, 5:] = 0
    mask = additive_mask(attention_mask)
    with torch.no_grad():
        torch.testing.assert_close(ours(hidden, mask), theirs(hidden, mask), atol=1e-5, rtol=1e-5)


TWICE = (TransformerLayer(2, 16, 40), ConvolutionLayer(3, 20), TransformerLayer(2, 16, 40), ConvolutionLayer(3, 20))
SHARED = StudentSpec(12, HIDDEN, TWICE, 60, 20, head=Head("classification", 3), sharing=(0, 1, 0, 1))


def texts(spec: StudentSpec) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(7)
    mask = torch.ones(3, 6, dtype=torch.long)
    mask[1:, 4:] = 0
    return {"input_ids": torch.randint(spec.vocabulary_size, (3, 6), generator=generator), "attention_mask": mask}


def test_random_specs_count_their_weights_once() -> None:
    rng = np.random.default_rng(11)
    specs = [random_spec(rng) for _ in range(12)]
    assert any(spec.sharing is not None for spec in specs)
    for spec in specs:
        assert spec.parameters() == sum(weight.numel() for weight in build_student(spec).parameters())


def test_shared_layers_cost_time_but_no_weights() -> None:
    apart = StudentSpec(12, HIDDEN, TWICE, 60, 20, head=SHARED.head)
    assert SHARED.flops(1, 8) == apart.flops(1, 8)
    assert SHARED.bytes_moved(1, 8) == apart.bytes_moved(1, 8)
    owned = sum(LayerBlock(HIDDEN, layer).parameters() for layer in TWICE[:2])
    assert apart.parameters() - SHARED.parameters() == owned
    assert "sharing" not in apart.to_json() and SHARED.to_json()["sharing"] == [0, 1, 0, 1]
    assert StudentSpec.from_json(SHARED.to_json()) == SHARED != apart


def test_sharing_with_nobody_is_no_sharing() -> None:
    apart = StudentSpec(12, HIDDEN, TWICE, 60, 20)
    assert StudentSpec(12, HIDDEN, TWICE, 60, 20, sharing=(0, 1, 2, 3)) == apart


@pytest.mark.parametrize(
    ("sharing", "said"),
    [
        ((0, 1, 0), "names 3 layers for a student of 4"),
        ((0, 1, 3, 3), "layer 2 cannot use the weights of layer 3"),
        ((0, 0, 2, 3), "layer 0: their sizes differ"),
        ((-1, 1, 2, 3), "layer 0 cannot use the weights of layer -1"),
        ((0, 1, 0, "1"), "list with the number of a layer"),
    ],
)
def test_impossible_sharing_is_refused(sharing: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        StudentSpec(12, HIDDEN, TWICE, 60, 20, sharing=sharing)


def test_a_chain_of_sharing_is_refused() -> None:
    alike = (FeedForwardLayer(8),) * 3
    with pytest.raises(UserError, match="with weights of its own"):
        StudentSpec(12, HIDDEN, alike, 60, 20, sharing=(0, 0, 1))


def test_shared_weights_are_saved_once_and_come_back_shared(tmp_path: Any) -> None:
    from safetensors import safe_open

    model = build_student(SHARED, seed=2)
    model.save_pretrained(tmp_path)
    with safe_open(tmp_path / "model.safetensors", "pt") as file:
        names = list(file.keys())
        assert sum(file.get_tensor(name).numel() for name in names) == SHARED.parameters()
    assert not any(".layers.2." in name or ".layers.3." in name for name in names)
    loaded = load_student(tmp_path)
    layers = encoder_of(loaded).layers
    assert sum(weight.numel() for weight in loaded.parameters()) == SHARED.parameters()
    assert layers[2].query.weight is layers[0].query.weight
    with torch.inference_mode():
        torch.testing.assert_close(loaded(**texts(SHARED)).logits, model(**texts(SHARED)).logits, atol=1e-6, rtol=0)


def test_training_keeps_shared_weights_shared() -> None:
    model = build_student(SHARED, seed=2).train()
    batch = texts(SHARED) | {"labels": torch.tensor([0, 2, 1])}
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(15):
        loss = model(**batch).loss
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[-1] < 0.5 * losses[0]
    layers = encoder_of(model).layers
    for one, other in ((0, 2), (1, 3)):
        for first, second in zip(layers[one].parameters(), layers[other].parameters(), strict=True):
            assert first is second


def test_seeds_and_other_layers_do_not_touch_each_other() -> None:
    first, again = (build_student(SHARED, 5).state_dict() for _ in range(2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    depthwise = encoder_of(build_student(SHARED, 5)).layers[1].depthwise.weight
    assert 0.3 < float(depthwise.detach().std()) < 0.9


def test_stock_bert_has_none_of_them() -> None:
    for layer in (FeedForwardLayer(8), BottleneckLayer(8, 1, 8, 8), ConvolutionLayer(3, 8)):
        assert bert_config(StudentSpec(HIDDEN, HIDDEN, (layer,))) is None
