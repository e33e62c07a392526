"""What a loss is the mean over, counted: by these numbers the losses of a batch's parts add up to the whole batch's."""

from typing import Literal, get_args

import torch
from torch import Tensor

from distill.batches import Batch
from distill.kinds import TaskKind
from students.headed import UNLABELLED

Unit = Literal["texts", "tokens", "pairs", "answers", "labels"]
"""Texts; their tokens; pairs of tokens of which one sees the other; answers as the task's kind has them; those with a
label."""

UNITS: tuple[Unit, ...] = get_args(Unit)


def counted(batch: Batch, kind: TaskKind) -> Tensor:
    """How many of each of `UNITS` a batch has, float64 [units]."""
    mask = batch["attention_mask"].bool()
    lengths = mask.sum(1)
    blank = torch.zeros((*mask.shape, 2) if kind.per_token else (len(mask), 2), device=mask.device)
    answers, labels = kind.rows(blank, batch["labels"], mask)
    known = ~labels.isnan() if labels.is_floating_point() else labels != UNLABELLED
    pairs = lengths * (lengths + 1) / 2 if kind.causal else lengths.square()
    found = (len(mask), lengths.sum(), pairs.sum(), len(answers), known.sum())
    return torch.tensor([float(number) for number in found], dtype=torch.float64)
