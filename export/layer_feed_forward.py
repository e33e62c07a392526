"""The lowering of `feed-forward` layers, and the normed feed-forward that other layer types end in."""

from export.blocks import LAYERS, feed_forward
from export.part import Part
from students.spec import Activation, FeedForwardLayer


def normed_feed_forward(part: Part, activation: Activation, hidden: str, name: str) -> str:
    """The module `name` (linear layers `expand` and `contract`, layer norm `norm`) with its residual."""
    return part.norm(feed_forward(part, activation, hidden, f"{name}."), f"{name}.norm")


def feed_forwards(part: Part, activation: Activation, hidden: str, count: int) -> str:
    """The modules `feed_forwards.0` … one after another."""
    for index in range(count):
        hidden = normed_feed_forward(part, activation, hidden, f"feed_forwards.{index}")
    return hidden


@LAYERS.register(FeedForwardLayer.type)
def _feed_forward_layer(part: Part, layer: FeedForwardLayer, hidden: str, mask: str) -> str:
    return feed_forwards(part, layer.activation, hidden, layer.count)
