"""What one layer of each type costs: weights, FLOPs of matrix products, and activations moved."""

from dataclasses import dataclass
from functools import singledispatch

from students import counts
from students.layer_types import BottleneckLayer, ConvolutionLayer, FeedForwardLayer, Layer, TransformerLayer


@dataclass(frozen=True)
class Cost:
    """Plain numbers that add up."""

    parameters: int = 0
    flops: int = 0
    """As `torch.utils.flop_counter` counts: matrix products and convolutions, two per multiply-add."""
    elements: int = 0
    """Numbers read and written by the operators, weights apart."""

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.parameters + other.parameters, self.flops + other.flops, self.elements + other.elements)

    def times(self, count: int) -> "Cost":
        """As many of them, each with weights of its own."""
        return Cost(self.parameters * count, self.flops * count, self.elements * count)


def _linear(tokens: int, inside: int, outside: int) -> Cost:
    return Cost(inside * outside + outside, 2 * tokens * inside * outside, tokens * (inside + outside))


def _norm(tokens: int, width: int) -> Cost:
    return Cost(2 * width, 0, 2 * tokens * width)


def _residual_norm(tokens: int, width: int) -> Cost:
    return Cost(2 * width, 0, 4 * tokens * width)


def _feed_forward(tokens: int, width: int, ffn_width: int) -> Cost:
    activation = Cost(elements=2 * tokens * ffn_width)
    projections = _linear(tokens, width, ffn_width) + _linear(tokens, ffn_width, width)
    return projections + activation + _residual_norm(tokens, width)


@singledispatch
def layer_cost(layer: Layer, hidden_width: int, batch_size: int, sequence_length: int) -> Cost:
    """The cost of one layer for `batch_size` texts of `sequence_length` tokens."""
    raise TypeError(f"{type(layer).__name__} is not a layer")


@layer_cost.register
def _(layer: TransformerLayer, hidden_width: int, batch_size: int, sequence_length: int) -> Cost:
    return transformer_cost(layer, hidden_width, batch_size, sequence_length, batch_size * sequence_length)


def transformer_cost(
    layer: TransformerLayer, hidden_width: int, batch_size: int, sequence_length: int, answered: int
) -> Cost:
    """The cost of making `answered` tokens, counted over all texts, out of all of them."""
    qkv, ffn = layer.qkv_width, layer.ffn_width
    return Cost(
        counts.layer_parameters(hidden_width, qkv, ffn),
        counts.layer_flops(hidden_width, qkv, ffn, batch_size, sequence_length, answered),
        counts.layer_activations(hidden_width, qkv, ffn, layer.heads, batch_size, sequence_length, answered),
    )


@layer_cost.register
def _(layer: FeedForwardLayer, hidden_width: int, batch_size: int, sequence_length: int) -> Cost:
    return _feed_forward(batch_size * sequence_length, hidden_width, layer.ffn_width).times(layer.count)


@layer_cost.register
def _(layer: BottleneckLayer, hidden_width: int, batch_size: int, sequence_length: int) -> Cost:
    tokens, inner, qkv = batch_size * sequence_length, layer.bottleneck_width, layer.qkv_width
    narrowed = _linear(tokens, hidden_width, inner) + _norm(tokens, inner)
    projected = _linear(tokens, inner, qkv).times(2) + _linear(tokens, hidden_width, qkv)
    scores = layer.heads * batch_size * sequence_length**2
    attention = Cost(0, 4 * tokens * sequence_length * qkv, 4 * tokens * qkv + 6 * scores)
    answered = _linear(tokens, qkv, inner) + _residual_norm(tokens, inner)
    fed = _feed_forward(tokens, inner, layer.ffn_width).times(layer.ffn_count)
    widened = _linear(tokens, inner, hidden_width) + _residual_norm(tokens, hidden_width)
    return narrowed.times(2) + projected + attention + answered + fed + widened


@layer_cost.register
def _(layer: ConvolutionLayer, hidden_width: int, batch_size: int, sequence_length: int) -> Cost:
    tokens = batch_size * sequence_length
    # Padding is set to zero before: one more reading and writing.
    depthwise = Cost(hidden_width * layer.kernel, 2 * tokens * hidden_width * layer.kernel, 4 * tokens * hidden_width)
    mixed = _linear(tokens, hidden_width, hidden_width) + _residual_norm(tokens, hidden_width)
    return depthwise + mixed + _feed_forward(tokens, hidden_width, layer.ffn_width)
