"""The torch module of `bottleneck` layers: MobileBERT's, with layer norms."""

from torch import Tensor, nn
from torch.nn import functional as F

from students.layer_feed_forward import FeedForwardModule
from students.layer_types import BottleneckLayer
from students.layers import LAYER_MODULES, NORM_EPSILON, Remember, attend


class BottleneckLayerModule(nn.Module):
    """Attention and feed-forwards at an inner width; queries and keys have a projection of the hidden state apart."""

    def __init__(self, hidden_width: int, layer: BottleneckLayer, dropout: float = 0.0) -> None:
        super().__init__()
        inner, qkv = layer.bottleneck_width, layer.qkv_width
        self.heads = layer.heads
        self.head_width = qkv // layer.heads
        self.matching = nn.Linear(hidden_width, inner)
        self.matching_norm = nn.LayerNorm(inner, eps=NORM_EPSILON)
        self.narrow = nn.Linear(hidden_width, inner)
        self.narrow_norm = nn.LayerNorm(inner, eps=NORM_EPSILON)
        self.query = nn.Linear(inner, qkv)
        self.key = nn.Linear(inner, qkv)
        self.value = nn.Linear(hidden_width, qkv)
        self.output = nn.Linear(qkv, inner)
        self.attention_norm = nn.LayerNorm(inner, eps=NORM_EPSILON)
        self.feed_forwards = nn.ModuleList(
            FeedForwardModule(inner, layer.ffn_width, layer.activation, dropout) for _ in range(layer.ffn_count)
        )
        self.widen = nn.Linear(inner, hidden_width)
        self.widen_norm = nn.LayerNorm(hidden_width, eps=NORM_EPSILON)
        self.dropout = dropout

    def forward(self, hidden: Tensor, mask: Tensor | None = None, remember: Remember | None = None) -> Tensor:
        """[B, S, h] and a mask to add to [B, heads, S, keys] scores → [B, S, h]; `remember` is a causal cache's."""
        batch, length, _ = hidden.shape
        split = (batch, length, self.heads, self.head_width)
        dropout = self.dropout if self.training else 0.0
        matching = self.matching_norm(self.matching(hidden))
        sources = ((self.query, matching), (self.key, matching), (self.value, hidden))
        query, key, value = (layer(source).view(split).transpose(1, 2) for layer, source in sources)
        if remember is not None:
            key, value = remember(key, value)
        context = attend(query, key, value, mask, dropout)
        attended = self.output(context.transpose(1, 2).reshape(batch, length, -1))
        if dropout:
            attended = F.dropout(attended, dropout)
        inner = self.attention_norm(self.narrow_norm(self.narrow(hidden)) + attended)
        for module in self.feed_forwards:
            inner = module(inner)
        widened = self.widen(inner)
        if dropout:
            widened = F.dropout(widened, dropout)
        normed: Tensor = self.widen_norm(hidden + widened)
        return normed


LAYER_MODULES.register(BottleneckLayer.type)(BottleneckLayerModule)
