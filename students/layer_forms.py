"""What a layer of a space may be: a layer type with the numbers that no gene gives it, as space files name it."""

import re
from dataclasses import dataclass

from students.spec import Activation, BottleneckLayer, ConvolutionLayer, FeedForwardLayer, Layer, TransformerLayer

NAMES = (
    "transformer, feed-forward, feed-forward x 2, convolution of 3, bottleneck to 1/2, bottleneck to 1/2 x 2, "
    "narrow bottleneck to 1/4"
)
"""Examples of all that can be named; the numbers may be others."""

_PATTERNS = {
    TransformerLayer.type: r"transformer",
    FeedForwardLayer.type: r"feed-forward(?: x ([1-9]\d?))?",
    ConvolutionLayer.type: r"convolution of ([1-9]\d?)",
    BottleneckLayer.type: r"(narrow )?bottleneck to 1/([2-9]|1\d)(?: x ([1-9]\d?))?",
}


@dataclass(frozen=True)
class LayerForm:
    """A kind of layer that a space has. `weight` is its share of samples relative to the others'.

    `part`: of the hidden width, one over it is a bottleneck's; `count` feed-forwards in a row; `kernel` of a
    convolution. `narrow`: a bottleneck's queries are that much narrower as well, as MobileBERT's are.
    """

    type: str
    weight: float = 1.0
    part: int = 1
    count: int = 1
    kernel: int = 1
    narrow: bool = False

    @property
    def attends(self) -> bool:
        """Whether heads and queries are anything to it."""
        return self.type in (TransformerLayer.type, BottleneckLayer.type)

    def layer(self, hidden: int, heads: int, qkv_width: int, ffn_width: int, activation: Activation) -> Layer:
        """The layer with these numbers; those that are nothing to it are not looked at."""
        if self.type == FeedForwardLayer.type:
            return FeedForwardLayer(ffn_width, self.count, activation)
        if self.type == ConvolutionLayer.type:
            return ConvolutionLayer(self.kernel, ffn_width, activation)
        if self.type == BottleneckLayer.type:
            queries = qkv_width // self.part if self.narrow else qkv_width
            return BottleneckLayer(hidden // self.part, heads, queries, ffn_width, self.count, activation)
        return TransformerLayer(heads, qkv_width, ffn_width, activation)


TRANSFORMER = LayerForm(TransformerLayer.type)


def read_form(text: str, weight: float = 1.0) -> LayerForm | None:
    """The form of that name; None where there is none, and of a convolution without a middle."""
    for kind, pattern in _PATTERNS.items():
        if match := re.fullmatch(pattern, text):
            narrow = kind == BottleneckLayer.type and match.group(1) is not None
            given = match.groups()[1:] if kind == BottleneckLayer.type else match.groups()
            numbers = [int(number) if number else 1 for number in given]
            if kind == ConvolutionLayer.type:
                return LayerForm(kind, weight, kernel=numbers[0]) if numbers[0] % 2 else None
            if kind == BottleneckLayer.type:
                return LayerForm(kind, weight, part=numbers[0], count=numbers[1], narrow=narrow)
            return LayerForm(kind, weight, count=numbers[0] if numbers else 1)
    return None
