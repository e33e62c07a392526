"""Adversarial training: a batch's loss beside the loss after its words were moved to where it grows fastest."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

TINY = 1e-12
"""Keeps a text whose loss no word can change where it is."""


@contextmanager
def _words_seen(words: nn.Module) -> Iterator[list[Tensor]]:
    """Collects what the word embedding gives, [B, S, w]."""
    seen: list[Tensor] = []
    hook = words.register_forward_hook(lambda module, inputs, output: seen.append(output))
    try:
        yield seen
    finally:
        hook.remove()


@contextmanager
def _words_moved(words: nn.Module, by: Tensor) -> Iterator[None]:
    hook = words.register_forward_hook(lambda module, inputs, output: output + by.to(output.dtype))
    try:
        yield
    finally:
        hook.remove()


def adversarial_loss(model: Any, loss_of: Callable[[], Tensor], mask: Tensor, distance: float) -> Tensor:
    """Mean of the loss as it is and of the loss with every text's word embeddings moved.

    r = distance · m · g / ‖g‖, where g [S, w] is the gradient of the loss by the word embeddings of one text and m the
    mean length of those (Miyato, Dai and Goodfellow 2017, arXiv 1605.07725, who bring all embeddings to one length
    first). `mask` [B, S] is 1 for a token and 0 for padding. `loss_of` runs `model` on the batch once and is called
    twice; a step takes a good two times as long.
    """
    words = model.base_model.get_input_embeddings()
    with _words_seen(words) as seen:
        plain = loss_of()
    (gradient,) = torch.autograd.grad(plain, seen[0], retain_graph=True)
    lengths = torch.where(mask.bool(), seen[0].detach().float().norm(dim=-1), 0.0)
    mean_length = lengths.sum(1) / mask.sum(1).clamp(min=1)
    scale = distance * mean_length / gradient.flatten(1).float().norm(dim=1).clamp(min=TINY)
    with _words_moved(words, gradient * scale[:, None, None]):
        moved = loss_of()
    return (plain + moved) / 2
