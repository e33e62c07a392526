"""Adversarial training: a batch is learnt from as it is, and with its words moved to where its loss grows fastest."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from distill.batches import Batch

MOVED = "moved"
"""Key of a batch: what is added to its word embeddings, [B, S, w]."""

TINY = 1e-12
"""Keeps a text whose loss no word can change where it is."""


def _word_embedding(model: Any) -> nn.Module:
    found: nn.Module = model.base_model.get_input_embeddings()
    return found


@contextmanager
def words_moved(model: Any, by: Tensor) -> Iterator[None]:
    """While it lasts `by` [B, S, w] is added to what the model's word embedding gives."""
    hook = _word_embedding(model).register_forward_hook(lambda module, inputs, output: output + by.to(output.dtype))
    try:
        yield
    finally:
        hook.remove()


def passes(model: Any, batch: Batch, distance: float) -> Iterator[tuple[Batch, bool]]:
    """What a step learns from one after the other, and whether it is the last: the batch alone where `distance` is 0.

    Otherwise the batch with words that are not moved yet, and then, once its loss has gone backwards, with words moved
    by r = distance · m · g / ‖g‖, where g [S, w] is the gradient of the loss by the word embeddings of one text and m
    their mean length (Miyato, Dai and Goodfellow 2017, arXiv 1605.07725, who bring all embeddings to one length first).
    Each counts for half. A step takes twice as long.
    """
    if not distance:
        yield batch, True
        return
    with torch.no_grad():
        words = _word_embedding(model)(batch["input_ids"])
    mask = batch["attention_mask"]
    mean_length = torch.where(mask.bool(), words.float().norm(dim=-1), 0.0).sum(1) / mask.sum(1).clamp(min=1)
    still = torch.zeros_like(words).requires_grad_()
    yield {**batch, MOVED: still}, False
    assert still.grad is not None
    scale = distance * mean_length / still.grad.flatten(1).float().norm(dim=1).clamp(min=TINY)
    yield {**batch, MOVED: still.grad * scale[:, None, None]}, True
