"""The torch module of `convolution` layers: a depthwise-separable convolution over the tokens, then a feed-forward."""

from torch import Tensor, nn
from torch.nn import functional as F

from students.layer_feed_forward import FeedForwardModule
from students.layer_types import ConvolutionLayer
from students.layers import LAYER_MODULES, NORM_EPSILON


class ConvolutionLayerModule(nn.Module):
    """Neighbouring tokens are mixed channel by channel, channels by a linear layer; padding counts as zero."""

    def __init__(self, hidden_width: int, layer: ConvolutionLayer, dropout: float = 0.0) -> None:
        super().__init__()
        # Without a bias: the linear layer that follows has one.
        self.depthwise = nn.Conv1d(
            hidden_width, hidden_width, layer.kernel, padding=layer.kernel // 2, groups=hidden_width, bias=False
        )
        self.pointwise = nn.Linear(hidden_width, hidden_width)
        self.mixing_norm = nn.LayerNorm(hidden_width, eps=NORM_EPSILON)
        self.feed_forward = FeedForwardModule(hidden_width, layer.ffn_width, layer.activation, dropout)
        self.dropout = dropout

    def forward(self, hidden: Tensor, mask: Tensor | None = None) -> Tensor:
        """[B, S, h] and `additive_mask`'s [B, 1, 1, S] → [B, S, h]."""
        seen = hidden if mask is None else hidden * (mask[:, 0, 0, :, None] == 0).to(hidden.dtype)
        mixed = self.pointwise(self.depthwise(seen.transpose(1, 2)).transpose(1, 2))
        if self.training and self.dropout:
            mixed = F.dropout(mixed, self.dropout)
        normed: Tensor = self.feed_forward(self.mixing_norm(hidden + mixed))
        return normed


LAYER_MODULES.register(ConvolutionLayer.type)(ConvolutionLayerModule)
