"""Batches of any shape as batches of one shape, which runtimes with fixed shapes can run."""

from collections.abc import Sequence

import numpy as np

from devices.workload import Workload
from export.runtimes.contract import Inputs
from export.verify import Batch, random_batches
from runs.errors import UserError
from students.spec import StudentSpec


def random_batches_within(spec: StudentSpec, workload: Workload) -> list[Batch]:
    """Random texts, cut to the workload's sequence length."""
    drawn = random_batches(spec)
    return [{name: values[:, : workload.sequence_length] for name, values in batch.items()} for batch in drawn]


def pad_to_workload(batches: Sequence[Batch], workload: Workload) -> tuple[Inputs, int]:
    """Every text of `batches` in arrays [batches, batch size, sequence length], and how many texts there are.

    Texts are filled up with zeros, which the mask hides; the last batch with repeats of its last text. A text longer
    than the workload's sequence length is a `UserError`.
    """
    length = workload.sequence_length
    longest = max((batch["attention_mask"].shape[1] for batch in batches), default=0)
    if not longest:
        raise UserError("there are no texts to compare the runtimes on: give some.")
    if longest > length:
        raise UserError(f"texts of {longest} tokens do not fit --sequence-length {length}: choose a longer one.")
    texts = sum(len(batch["attention_mask"]) for batch in batches)
    size = workload.batch_size
    places = np.minimum(np.arange(-(-texts // size) * size), texts - 1)
    stacked = {}
    for name in batches[0]:
        rows = [np.pad(batch[name], ((0, 0), (0, length - batch[name].shape[1]))) for batch in batches]
        stacked[name] = np.concatenate(rows)[places].reshape(-1, size, length)
    return stacked, texts
