"""The torch module of each block: embedding, layer types, head, and stacks of one block for measuring."""

from collections.abc import Callable
from functools import singledispatch
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from runs.errors import UserError
from runs.registry import Registry
from students.spec import Block, EmbeddingBlock, HeadBlock, LayerBlock, TransformerLayer

NORM_EPSILON = 1e-12
"""BERT's; every layer norm here uses it."""

MASKED_SCORE = -1e4
"""Added to the attention scores of padding: far enough for a weight of exactly 0, and finite in half precision too,
so that an example without a single real token gives numbers, not NaN."""

ACTIVATION_FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {"gelu": F.gelu, "relu": F.relu, "silu": F.silu}


Remember = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""New keys and values [B, heads, S, head width] → those of all tokens so far: how a causal student's cache is used."""


def additive_mask(attention_mask: Tensor | None, dtype: torch.dtype = torch.float32) -> Tensor | None:
    """[B, S] of 1 for a token and 0 for padding → [B, 1, 1, S] to be added to attention scores; None stays None."""
    if attention_mask is None:
        return None
    return ((1.0 - attention_mask.to(dtype)) * MASKED_SCORE)[:, None, None, :]


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, dropout: float = 0.0) -> Tensor:
    """Scaled dot-product attention, [B, heads, S, head width] each, with a mask to add to the scores.

    In mixed precision on a CPU it is computed in fp32: PyTorch's kernel takes up to five times as long backwards over
    bf16, and forwards no less.
    """
    if not (query.device.type == "cpu" and torch.is_autocast_enabled("cpu")):
        return F.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=dropout)
    with torch.autocast("cpu", enabled=False):
        mask = None if mask is None else mask.float()
        return F.scaled_dot_product_attention(query.float(), key.float(), value.float(), mask, dropout)


class EmbeddingModule(nn.Module):
    """Word, position and token-type embeddings summed, normed, and projected where the hidden width differs."""

    def __init__(self, block: EmbeddingBlock, dropout: float = 0.0) -> None:
        super().__init__()
        width = block.embedding_width
        self.word = nn.Embedding(block.vocabulary_size, width)
        self.position = nn.Embedding(block.maximum_positions, width)
        self.token_type = nn.Embedding(block.token_types, width)
        self.norm = nn.LayerNorm(width, eps=NORM_EPSILON)
        self.projection = nn.Linear(width, block.hidden_width) if block.factorised else None
        self.dropout = dropout

    def forward(
        self, input_ids: Tensor, token_type_ids: Tensor | None = None, position_ids: Tensor | None = None
    ) -> Tensor:
        """int64 [B, S] thrice → [B, S, h]; without token types every token has type 0, without positions they count up.

        Raises `UserError` for more tokens than there are positions.
        """
        most = self.position.num_embeddings
        length = input_ids.shape[1] if position_ids is None else int(position_ids.max()) + 1
        if length > most:
            raise UserError(f"a text of {length} tokens does not fit a model of {most} positions: truncate it.")
        types = self.token_type.weight[0] if token_type_ids is None else self.token_type(token_type_ids)
        places = self.position.weight[:length] if position_ids is None else self.position(position_ids)
        hidden: Tensor = self.norm(self.word(input_ids) + types + places)
        if self.training and self.dropout:
            hidden = F.dropout(hidden, self.dropout)
        return hidden if self.projection is None else self.projection(hidden)


class TransformerLayerModule(nn.Module):
    """BERT's layer: attention and feed-forward, each with residual and layer norm after it."""

    def __init__(self, hidden_width: int, layer: TransformerLayer, dropout: float = 0.0) -> None:
        super().__init__()
        self.heads = layer.heads
        self.head_width = layer.qkv_width // layer.heads
        self.query = nn.Linear(hidden_width, layer.qkv_width)
        self.key = nn.Linear(hidden_width, layer.qkv_width)
        self.value = nn.Linear(hidden_width, layer.qkv_width)
        self.output = nn.Linear(layer.qkv_width, hidden_width)
        self.attention_norm = nn.LayerNorm(hidden_width, eps=NORM_EPSILON)
        self.expand = nn.Linear(hidden_width, layer.ffn_width)
        self.contract = nn.Linear(layer.ffn_width, hidden_width)
        self.ffn_norm = nn.LayerNorm(hidden_width, eps=NORM_EPSILON)
        self.activation = ACTIVATION_FUNCTIONS[layer.activation]
        self.dropout = dropout

    def forward(
        self,
        hidden: Tensor,
        mask: Tensor | None = None,
        remember: Remember | None = None,
        first_only: bool = False,
    ) -> Tensor:
        """[B, S, h] and a mask to add to [B, heads, S, keys] scores → [B, S, h], or [B, 1, h] with `first_only`.

        `remember` is a causal cache's.
        """
        looked_at = hidden
        if first_only:
            hidden = hidden[:, :1]
        dropout = self.dropout if self.training else 0.0
        query = self._split(self.query(hidden))
        key, value = self._split(self.key(looked_at)), self._split(self.value(looked_at))
        if remember is not None:
            key, value = remember(key, value)
        context = attend(query, key, value, mask, dropout)
        attended = self.output(context.transpose(1, 2).flatten(2))
        if dropout:
            attended = F.dropout(attended, dropout)
        hidden = self.attention_norm(hidden + attended)
        fed = self.contract(self.activation(self.expand(hidden)))
        if dropout:
            fed = F.dropout(fed, dropout)
        normed: Tensor = self.ffn_norm(hidden + fed)
        return normed

    def _split(self, projected: Tensor) -> Tensor:
        """[B, S, q] → [B, heads, S, head width]."""
        parted: Tensor = projected.unflatten(2, (self.heads, self.head_width)).transpose(1, 2)
        return parted


class HeadModule(nn.Module):
    """BERT's pooler over the first token, then a linear classifier."""

    def __init__(self, block: HeadBlock, dropout: float = 0.0) -> None:
        super().__init__()
        self.pooler = nn.Linear(block.hidden_width, block.hidden_width)
        self.classifier = nn.Linear(block.hidden_width, block.labels)
        self.dropout = dropout

    def forward(self, hidden: Tensor) -> Tensor:
        """[B, S, h] → logits [B, labels]."""
        pooled = torch.tanh(self.pooler(hidden[:, 0]))
        if self.training and self.dropout:
            pooled = F.dropout(pooled, self.dropout)
        logits: Tensor = self.classifier(pooled)
        return logits


LAYER_MODULES: Registry[Callable[[int, Any, float], nn.Module]] = Registry("layer type")
"""Layer type → its module's constructor, called with (hidden width, layer, dropout); `students.layer_…` add to it."""
LAYER_MODULES.register(TransformerLayer.type)(TransformerLayerModule)


@singledispatch
def build_block(block: Block, dropout: float = 0.0) -> nn.Module:
    """The module of a block with torch's default random weights; `build_student` draws BERT's."""
    raise TypeError(f"{type(block).__name__} is not a block")


@build_block.register
def _(block: EmbeddingBlock, dropout: float = 0.0) -> nn.Module:
    return EmbeddingModule(block, dropout)


@build_block.register
def _(block: LayerBlock, dropout: float = 0.0) -> nn.Module:
    return LAYER_MODULES[block.layer.type](block.hidden_width, block.layer, dropout)


@build_block.register
def _(block: HeadBlock, dropout: float = 0.0) -> nn.Module:
    return HeadModule(block, dropout)


class BlockStack(nn.Module):
    """`depth` layers of one shape in a row, each with weights of its own: what the profiler times."""

    def __init__(self, block: LayerBlock, depth: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(build_block(block) for _ in range(depth))
        self.special: dict[str, bool] = {"first_only": True} if block.first_only else {}

    def forward(self, hidden: Tensor, mask: Tensor | None = None) -> Tensor:
        """[B, S, h] → [B, S, h], or [B, 1, h] of a layer that makes the first token alone."""
        for layer in self.layers:
            hidden = layer(hidden, mask, **self.special)
        return hidden
