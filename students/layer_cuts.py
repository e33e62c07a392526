"""How a layer of each type is cut out of a teacher's transformer layer: what it has in common with one, refitted."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from runs.registry import Registry
from students.cutting import Choice, Kept, cut_linear, cut_norm, keep, pass_through, usual_token
from students.importance import Importance, Point
from students.layer_bottleneck import BottleneckLayerModule
from students.layer_convolution import ConvolutionLayerModule
from students.layer_feed_forward import FeedForwardLayerModule, FeedForwardModule
from students.layers import TransformerLayerModule
from students.spec import BottleneckLayer, ConvolutionLayer, FeedForwardLayer, TransformerLayer


@dataclass(frozen=True)
class Origin:
    """The teacher's layer that a student's layer comes from.

    `hidden` are the kept hidden channels, `read` is the teacher's hidden state that the student's layer reads, `stream`
    the same as its kept channels tell it. `rescale`: see `students.slicing.slice_student`.
    """

    layer: TransformerLayerModule
    importance: Importance
    name: str
    hidden: Tensor
    read: Point
    stream: Kept
    choose: Choice
    rescale: bool

    def point(self, place: str) -> Point:
        """Statistics of one of the layer's activations."""
        return self.importance.points[f"{self.name}.{place}"]


LAYER_CUTS: Registry[Callable[[Any, Origin], None]] = Registry("layer type")
"""Layer type → a function that gives a student's layer its start, in place."""


@LAYER_CUTS.register(TransformerLayer.type)
def _transformer(target: TransformerLayerModule, origin: Origin) -> None:
    source = origin.layer
    carried, places = _cut_attention(target, origin, origin.stream, origin.stream)
    context = origin.point("output.in")
    cut_linear(target.output, source.output, keep(context, carried, places), origin.hidden)
    cut_norm(target.attention_norm, source.attention_norm, origin.point("attention_norm.in"), origin.hidden)
    fed = keep(origin.point("attention_norm.out"), origin.hidden)
    _cut_feed_forward(target.expand, target.contract, origin, fed, _neurons(origin, target.expand), origin.hidden)
    cut_norm(target.ffn_norm, source.ffn_norm, origin.point("ffn_norm.in"), origin.hidden)


@LAYER_CUTS.register(FeedForwardLayer.type)
def _feed_forwards(target: FeedForwardLayerModule, origin: Origin) -> None:
    """The teacher's neurons, dealt out in turn; what attention would have added to what they read is left away, but for
    its mean and spread."""
    wanted = origin.point("attention_norm.out")
    fed = keep(wanted, origin.hidden)
    there, here = (usual_token(point, origin.hidden, len(origin.hidden))[1] for point in (origin.read, wanted))
    _cut_in_a_row(
        target.feed_forwards,
        origin,
        fed,
        origin.hidden,
        first=_as_if(origin.read, fed, wanted),
        scale=there / here,
    )


@LAYER_CUTS.register(ConvolutionLayer.type)
def _convolution(target: ConvolutionLayerModule, origin: Origin) -> None:
    """Attention that looks at all neighbours alike: their mean, then the teacher's values and its output in one."""
    source = origin.layer
    target.depthwise.weight.fill_(1.0 / target.depthwise.kernel_size[0])
    # Random weights would be drawn from everybody's generator, and thrown away.
    mixing = nn.utils.skip_init(nn.Linear, source.value.in_features, source.output.out_features)
    mixing.weight.copy_(source.output.weight @ source.value.weight)
    mixing.bias.copy_(source.output.weight @ source.value.bias + source.output.bias)
    cut_linear(target.pointwise, mixing, origin.stream, origin.hidden)
    cut_norm(target.mixing_norm, source.attention_norm, origin.point("attention_norm.in"), origin.hidden)
    _cut_in_a_row(
        (target.feed_forward,), origin, keep(origin.point("attention_norm.out"), origin.hidden), origin.hidden
    )


@LAYER_CUTS.register(BottleneckLayer.type)
def _bottleneck(target: BottleneckLayerModule, origin: Origin) -> None:
    """The teacher's layer on its best channels alone; what they tell of the others is added to what is there."""
    source, width = origin.layer, target.narrow.out_features
    worth = origin.point("attention_norm.out").score + origin.point("ffn_norm.out").score
    among = origin.choose(worth[origin.hidden], width)
    inner = origin.hidden[among]
    for linear, norm in ((target.matching, target.matching_norm), (target.narrow, target.narrow_norm)):
        linear.weight[: len(among)] = 0.0
        linear.weight[torch.arange(len(among)), among] = 1.0
        linear.bias[: len(among)] = 0.0
        pass_through(norm, origin.read, inner)
    carried, places = _cut_attention(target, origin, keep(origin.read, inner), origin.stream)
    cut_linear(target.output, source.output, keep(origin.point("output.in"), carried, places), inner)
    cut_norm(target.attention_norm, source.attention_norm, origin.point("attention_norm.in"), inner)
    _cut_in_a_row(target.feed_forwards, origin, keep(origin.point("attention_norm.out"), inner), inner)
    written = keep(origin.point("ffn_norm.out"), inner)
    target.widen.weight[: len(origin.hidden), : len(inner)] = written.matrix[origin.hidden].float()
    target.widen.bias[: len(origin.hidden)] = written.offset[origin.hidden].float()
    pass_through(target.widen_norm, origin.point("ffn_norm.out"), origin.hidden)


def _cut_attention(
    target: TransformerLayerModule | BottleneckLayerModule, origin: Origin, matched_in: Kept, carried_in: Kept
) -> tuple[Tensor, Tensor]:
    """Queries and keys that read `matched_in`, values that read `carried_in`; the teacher's channels of the context
    that these carry, and their places."""
    source, choose = origin.layer, origin.choose
    per_head = (source.heads, source.head_width)
    context = origin.point("output.in").score.view(per_head)
    heads = choose(context.sum(dim=1), target.heads)
    matching = (origin.point("query.out").score + origin.point("key.out").score).view(per_head)
    matched, places = _head_channels(matching, heads, target.head_width, choose)
    carried, _ = _head_channels(context, heads, target.head_width, choose)
    # Scores are divided by the root of the head width, which is another one here.
    scale = math.sqrt(target.head_width / source.head_width) if origin.rescale else 1.0
    cut_linear(target.query, source.query, matched_in, matched, places, scale)
    cut_linear(target.key, source.key, matched_in, matched, places)
    cut_linear(target.value, source.value, carried_in, carried, places)
    return carried, places


def _head_channels(scores: Tensor, heads: Tensor, width: int, choose: Choice) -> tuple[Tensor, Tensor]:
    """The `width` best channels of each of the `heads` of `scores` [heads, head width], and their places."""
    chosen = [head * scores.shape[1] + choose(scores[head], width) for head in heads]
    places = [place * width + torch.arange(len(some)) for place, some in enumerate(chosen)]
    return torch.cat(chosen), torch.cat(places)


def _neurons(origin: Origin, *expands: nn.Linear) -> Tensor:
    """The best neurons for so many feed-forwards together."""
    return origin.choose(origin.point("contract.in").score, sum(expand.out_features for expand in expands))


def _cut_feed_forward(
    expand: nn.Linear, contract: nn.Linear, origin: Origin, fed: Kept, neurons: Tensor, rows: Tensor
) -> None:
    cut_linear(expand, origin.layer.expand, fed, neurons)
    cut_linear(contract, origin.layer.contract, keep(origin.point("contract.in"), neurons), rows)


def _cut_in_a_row(
    row: Iterable[nn.Module], origin: Origin, fed: Kept, rows: Tensor, *, first: Kept | None = None, scale: float = 1.0
) -> None:
    """The teacher's feed-forward in parts, one after the other; `rows` are the channels of all of them.

    Together they add what the teacher's adds, or what their neurons tell of it; norms but the last pass on what they
    read. All read `fed`, but for the first where that reads `first`, which is `scale` times as widely spread: what is
    added to it is as well.
    """
    modules = [module for module in row if isinstance(module, FeedForwardModule)]
    neurons = _neurons(origin, *(module.expand for module in modules))
    told = keep(origin.point("contract.in"), neurons)
    source = origin.layer
    begin = 0
    for place, module in enumerate(modules):
        some = slice(begin, min(begin + module.expand.out_features, len(neurons)))
        begin = some.stop
        cut_linear(module.expand, source.expand, first if first and not place else fed, neurons[some])
        part = Kept(neurons[some], torch.arange(some.stop - some.start), told.matrix[:, some], told.offset)
        cut_linear(module.contract, source.contract, part, rows, scale=1.0 if place else scale)
        if place:
            module.contract.bias.zero_()
        if place == len(modules) - 1:
            cut_norm(module.norm, source.ffn_norm, origin.point("ffn_norm.in"), rows)
        else:
            pass_through(module.norm, origin.point("attention_norm.out"), rows)


def _as_if(read: Point, kept: Kept, wanted: Point) -> Kept:
    """`kept` of `wanted`, told by the same channels of `read`, each brought to the mean and spread of the other."""
    spread = wanted.covariance.diagonal()[kept.index].clamp_min(1e-12).sqrt()
    scale = spread / read.covariance.diagonal()[kept.index].clamp_min(1e-12).sqrt()
    shift = wanted.mean[kept.index] - scale * read.mean[kept.index]
    return Kept(kept.index, kept.places, kept.matrix * scale, kept.offset + kept.matrix @ shift)
