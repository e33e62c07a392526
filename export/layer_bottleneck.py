"""The lowering of `bottleneck` layers."""

from export.blocks import LAYERS, attended, attention
from export.layer_feed_forward import feed_forwards
from export.part import Part
from students.spec import BottleneckLayer


@LAYERS.register(BottleneckLayer.type)
def _bottleneck_layer(part: Part, layer: BottleneckLayer, hidden: str, mask: str) -> str:
    matching = part.norm(part.linear(hidden, "matching"), "matching_norm")
    narrow = part.norm(part.linear(hidden, "narrow"), "narrow_norm")
    context = attention(part, layer.heads, layer.qkv_width, matching, matching, hidden, mask)
    inner = part.norm(attended(part, context, narrow), "attention_norm")
    fed = feed_forwards(part, layer.activation, inner, layer.ffn_count)
    return part.norm(part.linear_residual(fed, hidden, "widen"), "widen_norm")
