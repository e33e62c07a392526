"""The torch modules of the heads over every token: token classifier and language model head."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from students.heads import LanguageHeadBlock, TokenHeadBlock
from students.layers import NORM_EPSILON, build_block


class TokenHeadModule(nn.Module):
    """A linear classifier over every token."""

    def __init__(self, block: TokenHeadBlock, dropout: float = 0.0) -> None:
        super().__init__()
        self.classifier = nn.Linear(block.hidden_width, block.labels)
        self.dropout = dropout

    def forward(self, hidden: Tensor) -> Tensor:
        """[B, S, h] → [B, S, labels]."""
        if self.training and self.dropout:
            hidden = F.dropout(hidden, self.dropout)
        logits: Tensor = self.classifier(hidden)
        return logits


class LanguageHeadModule(nn.Module):
    """Linear, GELU and norm into the embedding width; the product with the word embedding is left to the caller's."""

    def __init__(self, block: LanguageHeadBlock) -> None:
        super().__init__()
        self.transform = nn.Linear(block.hidden_width, block.embedding_width)
        self.norm = nn.LayerNorm(block.embedding_width, eps=NORM_EPSILON)
        self.bias = nn.Parameter(torch.zeros(block.vocabulary_size))

    def before_words(self, hidden: Tensor) -> Tensor:
        """[..., h] → [..., e], what words are scored by."""
        transformed: Tensor = self.norm(F.gelu(self.transform(hidden)))
        return transformed

    def forward(self, hidden: Tensor, words: Tensor) -> Tensor:
        """[B, S, h] and the word embedding [V, e] → logits [B, S, V]."""
        return F.linear(self.before_words(hidden), words, self.bias)


@build_block.register
def _(block: TokenHeadBlock, dropout: float = 0.0) -> nn.Module:
    return TokenHeadModule(block, dropout)


@build_block.register
def _(block: LanguageHeadBlock, dropout: float = 0.0) -> nn.Module:
    return LanguageHeadModule(block)
