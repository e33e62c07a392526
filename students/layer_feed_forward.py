"""The torch module of `feed-forward` layers, and the one feed-forward that other layer types are built with as well."""

from torch import Tensor, nn
from torch.nn import functional as F

from students.layer_types import Activation, FeedForwardLayer
from students.layers import ACTIVATION_FUNCTIONS, LAYER_MODULES, NORM_EPSILON


class FeedForwardModule(nn.Module):
    """Two linear layers with an activation between, then residual and layer norm."""

    def __init__(self, width: int, ffn_width: int, activation: Activation, dropout: float = 0.0) -> None:
        super().__init__()
        self.expand = nn.Linear(width, ffn_width)
        self.contract = nn.Linear(ffn_width, width)
        self.norm = nn.LayerNorm(width, eps=NORM_EPSILON)
        self.activation = ACTIVATION_FUNCTIONS[activation]
        self.dropout = dropout

    def forward(self, hidden: Tensor) -> Tensor:
        """[B, S, width] → [B, S, width]."""
        fed = self.contract(self.activation(self.expand(hidden)))
        if self.training and self.dropout:
            fed = F.dropout(fed, self.dropout)
        normed: Tensor = self.norm(hidden + fed)
        return normed


class FeedForwardLayerModule(nn.Module):
    """Feed-forwards in a row; tokens do not see each other, so the mask has no part in it."""

    def __init__(self, hidden_width: int, layer: FeedForwardLayer, dropout: float = 0.0) -> None:
        super().__init__()
        self.feed_forwards = nn.ModuleList(
            FeedForwardModule(hidden_width, layer.ffn_width, layer.activation, dropout) for _ in range(layer.count)
        )

    def forward(self, hidden: Tensor, mask: Tensor | None = None) -> Tensor:
        """[B, S, h] → [B, S, h]."""
        for module in self.feed_forwards:
            hidden = module(hidden)
        return hidden


LAYER_MODULES.register(FeedForwardLayer.type)(FeedForwardLayerModule)
