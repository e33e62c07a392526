"""Losses of a language model's words, some places after others: the scores of all words at all places are too many.

A block of more than 32 MB is given back when it is free, and the kernel clears its pages again at the next step, which
took as long as the work itself (`benchmarks/language_step.py`).
"""

from collections.abc import Callable
from math import ceil
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from distill.asked_words import asked_of
from distill.batches import Batch
from students.causal_model import StudentForCausalLM
from students.headed import StudentForMaskedLM

CHUNK_BYTES = 30_000_000
"""Of the scores of one chunk in fp32, on the CPU."""

CHUNK_BYTES_ELSEWHERE = 2**30

LossOfWords = Callable[[Tensor, slice], Tensor]
"""Scores [places, V] of some of the places, and which ones → their share of the loss of all."""


def word_rows(model: Any, batch: Batch) -> tuple[Tensor, Tensor, Tensor] | None:
    """What a student scores words by at the places that it is asked for: rows [places, e], words [V, e], bias [V].

    The scores are `F.linear` of these. None of models that have other heads.
    """
    if not isinstance(model, StudentForMaskedLM | StudentForCausalLM):
        return None
    encoded = model.student(batch["input_ids"], batch["attention_mask"], batch["token_type_ids"])
    hidden = encoded.last_hidden_state[asked_of(model, batch)["asked"]]
    return model.head.before_words(hidden), model.student.embeddings.word.weight, model.head.bias


def loss_in_chunks(loss: LossOfWords, rows: Tensor, words: Tensor, bias: Tensor) -> Tensor:
    """The sum of a loss over chunks of the rows; gradients are made with it, chunk by chunk, and no scores are kept."""
    total: Tensor = _InChunks.apply(loss, rows, words, bias)  # type: ignore[no-untyped-call]
    return total


def _chunks(places: int, words: int, device: torch.device) -> list[slice]:
    """About equally many places each."""
    most = max(1, (CHUNK_BYTES if device.type == "cpu" else CHUNK_BYTES_ELSEWHERE) // (4 * words))
    size = ceil(places / max(1, ceil(places / most))) or 1
    return [slice(start, start + size) for start in range(0, places, size)]


class _InChunks(torch.autograd.Function):
    """Gradients of rows, words and bias, made in the forward pass."""

    @staticmethod
    def forward(ctx: Any, loss: LossOfWords, rows: Tensor, words: Tensor, bias: Tensor) -> Tensor:
        kind = rows.device.type
        number_format = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else rows.dtype
        table, offsets = words.to(number_format), bias.to(number_format)
        of_rows, of_words, of_bias = torch.empty_like(rows), torch.zeros_like(words), torch.zeros_like(bias)
        product = torch.empty_like(table)
        total = torch.zeros((), device=rows.device)
        for chunk in _chunks(len(rows), len(words), rows.device):
            part = rows[chunk].to(number_format)
            scores = F.linear(part, table, offsets).requires_grad_()
            with torch.enable_grad():
                lost = loss(scores, chunk)
            (slope,) = torch.autograd.grad(lost, scores)
            total += lost.detach()
            of_rows[chunk] = slope @ table
            of_words += torch.mm(slope.T, part, out=product)
            of_bias += slope.sum(0, dtype=bias.dtype)
        ctx.gradients = (of_rows, of_words, of_bias)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        (by,) = gradients
        # Nearly always 1, and a product would be one more table of all words.
        return (None, *(own if by == 1 else own * by for own in ctx.gradients))
