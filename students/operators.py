"""What a block does, as a list of operators with their sizes: all that a machine's time can depend on, without torch.

A new layer type is one function here. Sizes are whole numbers over all texts of a call; a *row* is one token.
"""

from functools import singledispatch
from typing import NamedTuple

from students.heads import HeadBlock, LanguageHeadBlock, TokenHeadBlock
from students.layer_types import (
    Activation,
    BottleneckLayer,
    ConvolutionLayer,
    FeedForwardLayer,
    Layer,
    TransformerLayer,
)
from students.spec import Block, EmbeddingBlock, LayerBlock


class Product(NamedTuple):
    """A linear layer: [rows, inner] times a weight [inner, columns], and its bias."""

    rows: int
    inner: int
    columns: int


class Attention(NamedTuple):
    """Scores, softmax and context of `texts` × `heads` with `queries` × `keys` scores each."""

    texts: int
    heads: int
    queries: int
    keys: int
    head_width: int


class Norm(NamedTuple):
    """A layer norm of [rows, width]."""

    rows: int
    width: int


class Activate(NamedTuple):
    """An activation function of [rows, width]."""

    kind: Activation
    rows: int
    width: int


class Gather(NamedTuple):
    """Reading [rows, width] out of a table by number."""

    rows: int
    width: int


class Depthwise(NamedTuple):
    """A convolution of [rows, width] along the tokens, `kernel` weights for each channel."""

    rows: int
    width: int
    kernel: int


Operator = Product | Attention | Norm | Activate | Gather | Depthwise

Operators = tuple[Operator, ...]

EMBEDDING_TABLES = 3
"""Words, positions and token types."""


@singledispatch
def operators(block: Block, batch_size: int, sequence_length: int) -> Operators:
    """The operators of one block for `batch_size` texts of `sequence_length` tokens, in about the order they run.

    Reshapes, biases and residuals stand for themselves nowhere: they go with the product or norm beside them.
    """
    raise TypeError(f"{type(block).__name__} is not a block")


@operators.register
def _(block: EmbeddingBlock, batch_size: int, sequence_length: int) -> Operators:
    tokens = batch_size * sequence_length
    read = (Gather(tokens, block.embedding_width),) * EMBEDDING_TABLES
    projected = (Product(tokens, block.embedding_width, block.hidden_width),) * block.factorised
    return (*read, Norm(tokens, block.embedding_width), *projected)


@operators.register
def _(block: LayerBlock, batch_size: int, sequence_length: int) -> Operators:
    made = batch_size if block.first_only else batch_size * sequence_length
    return layer_operators(block.layer, block.hidden_width, batch_size, sequence_length, made)


@operators.register
def _(block: HeadBlock, batch_size: int, sequence_length: int) -> Operators:
    width = block.hidden_width
    return (Gather(batch_size, width), Product(batch_size, width, width), Product(batch_size, width, block.labels))


@operators.register
def _(block: TokenHeadBlock, batch_size: int, sequence_length: int) -> Operators:
    return (Product(batch_size * sequence_length, block.hidden_width, block.labels),)


@operators.register
def _(block: LanguageHeadBlock, batch_size: int, sequence_length: int) -> Operators:
    tokens, embedding = batch_size * sequence_length, block.embedding_width
    transform = (Product(tokens, block.hidden_width, embedding), Activate("gelu", tokens, embedding))
    return (*transform, Norm(tokens, embedding), Product(tokens, embedding, block.vocabulary_size))


@singledispatch
def layer_operators(layer: Layer, hidden_width: int, batch_size: int, sequence_length: int, made: int) -> Operators:
    """The operators of one layer that makes `made` rows, over all texts, out of all of them."""
    raise TypeError(f"{type(layer).__name__} is not a layer")


@layer_operators.register
def _(layer: TransformerLayer, hidden_width: int, batch_size: int, sequence_length: int, made: int) -> Operators:
    tokens, qkv = batch_size * sequence_length, layer.qkv_width
    looked_at = (Product(tokens, hidden_width, qkv),) * 2
    return (
        Product(made, hidden_width, qkv),
        *looked_at,
        _attention(layer, batch_size, sequence_length, made),
        Product(made, qkv, hidden_width),
        Norm(made, hidden_width),
        *_feed_forward(made, hidden_width, layer.ffn_width, layer.activation),
    )


@layer_operators.register
def _(layer: FeedForwardLayer, hidden_width: int, batch_size: int, sequence_length: int, made: int) -> Operators:
    return _feed_forward(made, hidden_width, layer.ffn_width, layer.activation) * layer.count


@layer_operators.register
def _(layer: BottleneckLayer, hidden_width: int, batch_size: int, sequence_length: int, made: int) -> Operators:
    inner, qkv = layer.bottleneck_width, layer.qkv_width
    narrowed = (Product(made, hidden_width, inner), Norm(made, inner)) * 2
    projected = (Product(made, inner, qkv), Product(made, inner, qkv), Product(made, hidden_width, qkv))
    attended = (_attention(layer, batch_size, sequence_length, made), Product(made, qkv, inner), Norm(made, inner))
    fed = _feed_forward(made, inner, layer.ffn_width, layer.activation) * layer.ffn_count
    widened = (Product(made, inner, hidden_width), Norm(made, hidden_width))
    return (*narrowed, *projected, *attended, *fed, *widened)


@layer_operators.register
def _(layer: ConvolutionLayer, hidden_width: int, batch_size: int, sequence_length: int, made: int) -> Operators:
    mixed = (Depthwise(made, hidden_width, layer.kernel), Product(made, hidden_width, hidden_width))
    fed = _feed_forward(made, hidden_width, layer.ffn_width, layer.activation)
    return (*mixed, Norm(made, hidden_width), *fed)


def _attention(layer: TransformerLayer | BottleneckLayer, texts: int, keys: int, made: int) -> Attention:
    return Attention(texts, layer.heads, made // texts, keys, layer.qkv_width // layer.heads)


def _feed_forward(rows: int, width: int, ffn_width: int, activation: Activation) -> Operators:
    expand, contract = Product(rows, width, ffn_width), Product(rows, ffn_width, width)
    return (expand, Activate(activation, rows, ffn_width), contract, Norm(rows, width))
