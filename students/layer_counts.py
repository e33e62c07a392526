"""What one layer of each type costs: weights, FLOPs of matrix products, and activations moved."""

from functools import singledispatch

from students.counts import Cost, attention, elementwise, feed_forward, linear, norm, residual_norm
from students.layer_types import BottleneckLayer, ConvolutionLayer, FeedForwardLayer, Layer, TransformerLayer


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
    tokens, qkv = batch_size * sequence_length, layer.qkv_width
    projected = linear(answered, hidden_width, qkv) + linear(tokens, hidden_width, qkv).times(2)
    attended = attention(answered, tokens, sequence_length, qkv, layer.heads) + linear(answered, qkv, hidden_width)
    fed = feed_forward(answered, hidden_width, layer.ffn_width)
    return projected + attended + residual_norm(answered, hidden_width) + fed


@layer_cost.register
def _(layer: FeedForwardLayer, hidden_width: int, batch_size: int, sequence_length: int) -> Cost:
    return feed_forward(batch_size * sequence_length, hidden_width, layer.ffn_width).times(layer.count)


@layer_cost.register
def _(layer: BottleneckLayer, hidden_width: int, batch_size: int, sequence_length: int) -> Cost:
    tokens, inner, qkv = batch_size * sequence_length, layer.bottleneck_width, layer.qkv_width
    narrowed = linear(tokens, hidden_width, inner) + norm(tokens, inner)
    projected = linear(tokens, inner, qkv).times(2) + linear(tokens, hidden_width, qkv)
    attended = attention(tokens, tokens, sequence_length, qkv, layer.heads) + linear(tokens, qkv, inner)
    fed = feed_forward(tokens, inner, layer.ffn_width).times(layer.ffn_count)
    widened = linear(tokens, inner, hidden_width) + residual_norm(tokens, hidden_width)
    return narrowed.times(2) + projected + attended + residual_norm(tokens, inner) + fed + widened


@layer_cost.register
def _(layer: ConvolutionLayer, hidden_width: int, batch_size: int, sequence_length: int) -> Cost:
    tokens = batch_size * sequence_length
    # Padding is set to zero before: one more reading and writing.
    depthwise = Cost(hidden_width * layer.kernel, 2 * tokens * hidden_width * layer.kernel)
    moved = elementwise(tokens, hidden_width).times(2)
    mixed = linear(tokens, hidden_width, hidden_width) + residual_norm(tokens, hidden_width)
    return depthwise + moved + mixed + feed_forward(tokens, hidden_width, layer.ffn_width)
