"""What parts of a network cost, as plain numbers that add up: weights, FLOPs, and activations read and written.

FLOPs count matrix products and convolutions only, two per multiply-add, as `torch.utils.flop_counter` does. Activations
are every operator's inputs and outputs, which is what a machine without fusion moves.
"""

from dataclasses import dataclass

ACTIVATION_BYTES = 4
"""Activations stay fp32 at every weight precision."""


@dataclass(frozen=True)
class Cost:
    """Plain numbers that add up."""

    parameters: int = 0
    flops: int = 0
    elements: int = 0
    """Numbers read and written by the operators, weights apart."""

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.parameters + other.parameters, self.flops + other.flops, self.elements + other.elements)

    def times(self, count: int) -> "Cost":
        """As many of them, each with weights of its own."""
        return Cost(self.parameters * count, self.flops * count, self.elements * count)

    def bytes_moved(self, bytes_per_weight: float) -> float:
        """Bytes: weights once, activations at every operator."""
        return self.parameters * bytes_per_weight + self.elements * ACTIVATION_BYTES


def linear(tokens: int, inside: int, outside: int) -> Cost:
    """A product with a weight, and its bias."""
    return Cost(inside * outside + outside, 2 * tokens * inside * outside, tokens * (inside + outside))


def elementwise(tokens: int, width: int) -> Cost:
    """A function of every number: one reading and one writing."""
    return Cost(elements=2 * tokens * width)


def norm(tokens: int, width: int) -> Cost:
    """A layer norm."""
    return Cost(parameters=2 * width) + elementwise(tokens, width)


def residual_norm(tokens: int, width: int) -> Cost:
    """What a part was given added to what it made, and a layer norm."""
    return norm(tokens, width) + elementwise(tokens, width)


def feed_forward(tokens: int, width: int, ffn_width: int) -> Cost:
    """Two linear layers with an activation between, residual and layer norm after."""
    projections = linear(tokens, width, ffn_width) + linear(tokens, ffn_width, width)
    return projections + elementwise(tokens, ffn_width) + residual_norm(tokens, width)


def attention(made: int, tokens: int, length: int, qkv_width: int, heads: int) -> Cost:
    """Scores, softmax and context for `made` queries, over all texts, of keys and values of `tokens`.

    Each query meets the `length` keys of its own text.
    """
    scores = made * length * heads
    return Cost(0, 4 * made * length * qkv_width, 2 * (made + tokens) * qkv_width + 6 * scores)
