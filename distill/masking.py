"""Hidden words: which tokens of a batch a masked language model is asked for, and what stands in their place."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from distill.batches import Batch
from students.headed import UNLABELLED

HIDDEN_SHARE = 0.15
"""Of the tokens, those that are asked for (BERT, Devlin et al. 2019)."""

KEPT, REPLACED = 0.1, 0.1
"""Shares of the tokens asked for that stay as they are, or become another word (there too)."""


@dataclass(frozen=True)
class Masking:
    """`share` of the tokens that are not `special` are asked for; most of them become `mask`."""

    mask: int
    vocabulary_size: int
    special: tuple[int, ...]
    share: float = HIDDEN_SHARE

    def __call__(self, batch: Batch, seed: Sequence[int]) -> Batch:
        """The batch with words hidden and labels at their places alone; equal for equal seeds."""
        rng = np.random.default_rng(seed)
        ids = batch["input_ids"].numpy()
        words = batch["attention_mask"].numpy().astype(bool) & ~np.isin(ids, self.special)
        asked = (rng.random(ids.shape) < self.share) & words
        if not asked.any():
            # A loss over no token at all is no number.
            asked.flat[int(np.argmax(words))] = True
        lot = rng.random(ids.shape)
        shown = np.where(asked & (lot < 1 - KEPT - REPLACED), self.mask, ids)
        other = asked & (lot >= 1 - REPLACED)
        shown = np.where(other, rng.integers(self.vocabulary_size, size=ids.shape), shown)
        labels = np.where(asked, ids, UNLABELLED)
        return {**batch, "input_ids": torch.from_numpy(shown), "labels": torch.from_numpy(labels)}


def masking_of(kind: str, tokenizer: Any) -> Masking | None:
    """How words are hidden for a kind of task; None where none are."""
    if kind != "masked-lm":
        return None
    return Masking(int(tokenizer.mask_token_id), len(tokenizer), tuple(tokenizer.all_special_ids))
