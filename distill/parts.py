"""A step in parts: a batch that is too large for one pass, or that several processes share, is learnt from bit by bit.

The parts' losses add up to the loss of the whole batch, up to rounding, whatever a loss is the mean over. What looks
across the texts of a batch sees those of its part alone: `rkd-distance` and `rkd-angle`, the second half of
`logits-dist`, and the mean that the temperature rules `flsw` and `cwsm` start from.
"""

import torch

from distill.batches import Batch
from distill.counts import UNITS, counted
from distill.lesson import Lesson


def parts_of(lesson: Lesson, batch: Batch, accumulate: int, rank: int = 0, processes: int = 1) -> list[Batch]:
    """The parts of a batch that process `rank` of so many learns from, `accumulate` of them, fewer of small batches.

    Each holds every n-th text, so that all parts are alike, and what the whole batch counts (`Lesson.forward`). A
    process whose share is empty gets one text that does not count, since none may miss a step.
    """
    number = accumulate * processes
    if number == 1:
        return [batch]
    texts = len(batch["input_ids"])
    whole = counted(batch, lesson.kind)
    starts = range(rank, min(number, texts), processes)
    if not starts:
        return [_rows(batch, slice(1)) | {"whole": torch.full((len(UNITS),), torch.inf, dtype=torch.float64)}]
    return [_rows(batch, slice(start, None, number)) | {"whole": whole} for start in starts]


def _rows(batch: Batch, rows: slice) -> Batch:
    """Padding is left as it is: batches are of similar length."""
    return {name: tensor[rows] if tensor.ndim else tensor for name, tensor in batch.items()}
