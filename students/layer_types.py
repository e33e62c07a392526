"""The layer types a student may be made of: frozen, validated numbers, without torch."""

from dataclasses import asdict, dataclass
from typing import ClassVar, Literal, get_args

from runs.errors import UserError
from runs.registry import Registry

Activation = Literal["gelu", "relu", "silu"]


def require_positive(owner: object, *names: str) -> None:
    """Raise `UserError` unless these fields of `owner` are whole numbers of at least 1."""
    for name in names:
        value = getattr(owner, name)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise UserError(f"{type(owner).__name__}.{name} is {value!r}: it must be a whole number of at least 1.")


def _require_activation(activation: object) -> None:
    if activation not in get_args(Activation):
        raise UserError(f"unknown activation {activation!r}: use one of {', '.join(get_args(Activation))}.")


def _require_heads(qkv_width: int, heads: int) -> None:
    if qkv_width % heads:
        raise UserError(f"qkv_width {qkv_width} does not divide into {heads} heads.")


@dataclass(frozen=True)
class TransformerLayer:
    """Self-attention and a feed-forward, both with residual and layer norm after (BERT's layer).

    `qkv_width` is the width of queries, keys and values over all heads together and need not be the hidden width.
    """

    heads: int
    qkv_width: int
    ffn_width: int
    activation: Activation = "gelu"

    type: ClassVar[str] = "transformer"

    def __post_init__(self) -> None:
        require_positive(self, "heads", "qkv_width", "ffn_width")
        _require_heads(self.qkv_width, self.heads)
        _require_activation(self.activation)


@dataclass(frozen=True)
class FeedForwardLayer:
    """`count` feed-forwards in a row, each with residual and layer norm after; no token sees another."""

    ffn_width: int
    count: int = 1
    activation: Activation = "gelu"

    type: ClassVar[str] = "feed-forward"

    def __post_init__(self) -> None:
        require_positive(self, "ffn_width", "count")
        _require_activation(self.activation)


@dataclass(frozen=True)
class BottleneckLayer:
    """MobileBERT's layer (arXiv 2004.02984), as `transformers` has it: attention and feed-forwards at an inner width.

    The hidden state is projected to `bottleneck_width` twice, each with a layer norm: once for queries and keys, once
    as the inner hidden state. Values are read from the hidden state itself. `ffn_count` feed-forwards follow, each with
    residual and layer norm after; the last result is widened again and added to what the layer was given.
    """

    bottleneck_width: int
    heads: int
    qkv_width: int
    ffn_width: int
    ffn_count: int = 1
    activation: Activation = "gelu"

    type: ClassVar[str] = "bottleneck"

    def __post_init__(self) -> None:
        require_positive(self, "bottleneck_width", "heads", "qkv_width", "ffn_width", "ffn_count")
        _require_heads(self.qkv_width, self.heads)
        _require_activation(self.activation)


@dataclass(frozen=True)
class ConvolutionLayer:
    """A depthwise-separable convolution over the sequence in the place of attention, then a feed-forward.

    Every channel is convolved with `kernel` weights of its own, tokens of padding counting as zero; a linear layer then
    mixes the channels. Residual and layer norm follow, as after attention.
    """

    kernel: int
    ffn_width: int
    activation: Activation = "gelu"

    type: ClassVar[str] = "convolution"

    def __post_init__(self) -> None:
        require_positive(self, "kernel", "ffn_width")
        if self.kernel % 2 == 0:
            raise UserError(f"a convolution's kernel of {self.kernel} has no middle: use an odd number of tokens.")
        _require_activation(self.activation)


Layer = TransformerLayer | FeedForwardLayer | BottleneckLayer | ConvolutionLayer

LAYER_TYPES: Registry[type[Layer]] = Registry("layer type")
for _layer_type in (TransformerLayer, FeedForwardLayer, BottleneckLayer, ConvolutionLayer):
    LAYER_TYPES.register(_layer_type.type)(_layer_type)


def layer_text(layer: Layer) -> str:
    """A layer in words: `convolution (kernel 3, ffn width 600, activation gelu)`."""
    numbers = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in asdict(layer).items())
    return f"{layer.type} ({numbers})"
