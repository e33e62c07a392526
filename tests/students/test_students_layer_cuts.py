"""Layers of every type cut out of a transformer's: near to it where they can be, finite and repeatable everywhere."""

from dataclasses import replace

import pytest
import torch
from slicing_world import LAYER, TEACHER, batches, cut, distance, teacher

from students.importance import importance
from students.layer_cuts import LAYER_CUTS
from students.layer_types import LAYER_TYPES, Layer
from students.model import build_student, encoder_of
from students.slicing import slice_student
from students.spec import BottleneckLayer, ConvolutionLayer, FeedForwardLayer, Head, TransformerLayer

CUT: dict[str, tuple[Layer, ...]] = {
    "transformer": (TransformerLayer(2, 12, 40), TransformerLayer(6, 60, 90)),
    "feed-forward": (FeedForwardLayer(40), FeedForwardLayer(24, 3), FeedForwardLayer(50, 2)),
    "convolution": (ConvolutionLayer(3, 40), ConvolutionLayer(7, 90)),
    "bottleneck": (BottleneckLayer(12, 2, 8, 40), BottleneckLayer(16, 4, 32, 24, 3), BottleneckLayer(40, 2, 24, 64, 2)),
}
"""Of each type some that are smaller than the teacher's layer, and larger."""


def test_every_type_can_be_cut() -> None:
    assert set(LAYER_CUTS) == set(LAYER_TYPES) == set(CUT)


@pytest.mark.parametrize("name", LAYER_TYPES.names())
class TestType:
    def test_it_comes_out_finite_and_repeatable(self, name: str) -> None:
        source = teacher()
        for layer in CUT[name]:
            for width in (16, 24, 40):
                spec = replace(TEACHER, embedding_width=width, hidden_width=width, layers=(layer, LAYER, layer))
                one, again = (cut(spec, (0, 1, 2), source) for _ in range(2))
                assert one.config.spec_object == spec
                assert all(torch.isfinite(weight).all() for weight in one.state_dict().values())
                for place, weight in one.state_dict().items():
                    assert torch.equal(weight, again.state_dict()[place]), place

    def test_it_starts_nearer_to_the_teacher_than_random_weights(self, name: str) -> None:
        source = teacher(replace(TEACHER, head=Head("none")))
        for layer in CUT[name]:
            spec = replace(TEACHER, layers=(LAYER, layer, LAYER), head=Head("none"))
            assert distance(source, cut(spec, (0, 1, 2), source)) < 0.7 * distance(source, build_student(spec)), layer


def test_a_convolution_of_one_token_is_the_layer_where_a_text_has_one() -> None:
    """Attention to a single token is the token's values: what is left of it is what a convolution has of it."""
    source = teacher()
    spec = replace(TEACHER, layers=(ConvolutionLayer(1, 64), LAYER, LAYER))
    mine, theirs = encoder_of(cut(spec, (0, 1, 2), source)), encoder_of(source)
    single = torch.randn(5, 1, 24, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.allclose(mine.layers[0](single), theirs.layers[0](single), atol=1e-5)


def test_feed_forwards_in_a_row_share_out_the_teachers_neurons() -> None:
    source, layer = teacher(), FeedForwardLayer(32, 2)
    row = encoder_of(cut(replace(TEACHER, layers=(layer, LAYER, LAYER)), (0, 1, 2), source)).layers[0].feed_forwards
    whole = encoder_of(source).layers[0]
    dealt = [
        part.contract.weight / whole.contract.weight[:, some]
        for part, some in zip(row, (slice(32), slice(32, 64)), strict=True)
    ]
    # What the first adds is as large beside what it reads as the teacher's is beside attention's.
    assert torch.allclose(dealt[0], dealt[0].mean().expand_as(dealt[0]), rtol=1e-3) and 1 < dealt[0].mean() < 1.2
    assert torch.allclose(dealt[1], torch.ones_like(dealt[1]), rtol=1e-3)
    assert torch.allclose(row[0].contract.bias, dealt[0].mean() * whole.contract.bias, rtol=1e-3)
    assert not row[1].contract.bias.any()
    # The norm between them passes tokens on nearly as they are.
    seen: list[torch.Tensor] = []
    whole.attention_norm.register_forward_hook(lambda module, given, made: seen.append(made))
    with torch.inference_mode():
        source(batches()[0]["input_ids"])
        passed = row[0].norm(seen[0])
    assert (passed - seen[0]).square().mean() < 0.1 * seen[0].var()


@pytest.mark.parametrize("gain", [3.0, 1.0, 0.3])
def test_feed_forwards_start_well_however_wide_attention_left_its_sum(gain: float) -> None:
    source = teacher(replace(TEACHER, head=Head("none")))
    with torch.no_grad():
        for layer in encoder_of(source).layers:
            layer.attention_norm.weight *= gain
            layer.attention_norm.bias *= gain
    for layer in (FeedForwardLayer(64), FeedForwardLayer(32, 2), FeedForwardLayer(16, 4)):
        spec = replace(TEACHER, layers=(LAYER, layer, LAYER), head=Head("none"))
        assert distance(source, cut(spec, (0, 1, 2), source)) < 0.25, layer


def test_layers_that_share_weights_start_as_the_first_of_them() -> None:
    source = teacher()
    shared = cut(replace(TEACHER, sharing=(0, 0, 2)), (0, 1, 2), source)
    alone = cut(TEACHER, (0, 1, 2), source)
    ours, theirs = encoder_of(shared).layers, encoder_of(alone).layers
    assert torch.equal(ours[1].query.weight, ours[0].query.weight)
    for place in (0, 2):
        assert torch.equal(ours[place].query.weight, theirs[place].query.weight)


def test_plain_sub_matrices_are_cut_from_every_type_as_well() -> None:
    source = teacher()
    plain = importance(source, batches()).alone()
    for layers in CUT.values():
        sliced = slice_student(source, replace(TEACHER, layers=layers[:1]), plain, (1,))
        with torch.inference_mode():
            assert torch.isfinite(sliced(batches()[0]["input_ids"])[0]).all()
