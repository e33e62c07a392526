"""Tokenised splits, and the plan of a whole training run: which examples stand together in which step."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset

from distill.examples import Split

Batch = dict[str, torch.Tensor]

BUCKET_BATCHES = 16
"""Batches' worth of examples sorted by length together: enough to cut padding, few enough to stay random."""

EVALUATION_BATCH = 64


@dataclass(frozen=True, eq=False)
class Encoded:
    """Token ids and token types of a split, ragged: example i holds `offsets[i]:offsets[i + 1]`. Labels are [n]."""

    ids: npt.NDArray[np.int32]
    types: npt.NDArray[np.int8]
    offsets: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    padding_id: int

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Tokens of each example, [n]."""
        return np.diff(self.offsets)

    def batch(self, indices: Sequence[int] | npt.NDArray[np.int64]) -> Batch:
        """The examples at `indices` padded to the longest of them: int64 [B, S] thrice, labels [B]."""
        lengths = self.lengths[indices]
        shape = (len(lengths), int(lengths.max()))
        ids = np.full(shape, self.padding_id, dtype=np.int64)
        types = np.zeros(shape, dtype=np.int64)
        mask = np.arange(shape[1]) < lengths[:, None]
        for row, index in enumerate(indices):
            part = slice(self.offsets[index], self.offsets[index + 1])
            ids[row, : lengths[row]] = self.ids[part]
            types[row, : lengths[row]] = self.types[part]
        arrays = {"input_ids": ids, "attention_mask": mask, "token_type_ids": types, "labels": self.labels[indices]}
        return {name: torch.from_numpy(np.asarray(array, dtype=np.int64)) for name, array in arrays.items()}


def encode(tokenizer: Any, split: Split, maximum_length: int) -> Encoded:
    """Tokenise a split; texts longer than `maximum_length` tokens are cut at the end, the longer of a pair first."""
    pairs = None if split.pairs is None else list(split.pairs)
    encoding = tokenizer(
        list(split.texts), pairs, truncation=True, max_length=maximum_length, return_token_type_ids=True,
        return_attention_mask=False,
    )  # fmt: skip
    ids, types = encoding["input_ids"], encoding["token_type_ids"]
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in ids])])
    return Encoded(
        np.concatenate([np.asarray(row, dtype=np.int32) for row in ids]),
        np.concatenate([np.asarray(row, dtype=np.int8) for row in types]),
        offsets.astype(np.int64),
        np.array(split.labels, dtype=np.int64),
        int(tokenizer.pad_token_id or 0),
    )


def evaluation_batches(lengths: npt.NDArray[np.int64], size: int = EVALUATION_BATCH) -> list[npt.NDArray[np.int64]]:
    """Every example once, similar lengths together."""
    order = np.argsort(lengths, kind="stable")
    return [order[start : start + size] for start in range(0, len(order), size)]


def plan_batches(lengths: npt.NDArray[np.int64], batch_size: int, steps: int, seed: int) -> list[npt.NDArray[np.int64]]:
    """The examples of every step, epoch after epoch, in random batches of similar length.

    Depends on its arguments alone, so that a resumed run sees the batches of an undisturbed one.
    """
    plan: list[npt.NDArray[np.int64]] = []
    epoch = 0
    while len(plan) < steps:
        rng = np.random.default_rng([seed, epoch])
        order = rng.permutation(len(lengths))
        bucket = batch_size * BUCKET_BATCHES
        batches = []
        for start in range(0, len(order), bucket):
            part = order[start : start + bucket]
            part = part[np.argsort(lengths[part], kind="stable")]
            batches += [part[first : first + batch_size] for first in range(0, len(part), batch_size)]
        plan += [batches[index] for index in rng.permutation(len(batches))]
        epoch += 1
    return plan[:steps]


def steps_per_epoch(examples: int, batch_size: int) -> int:
    """Batches that `plan_batches` makes of one epoch."""
    return -(-examples // batch_size)


class PlannedBatches(Dataset[Batch]):
    """The batches of a run by step, each with its share of the run already done and, if given, the teacher's logits."""

    def __init__(
        self,
        encoded: Encoded,
        plan: list[npt.NDArray[np.int64]],
        teacher_logits: npt.NDArray[np.float32] | None = None,
    ) -> None:
        self.encoded = encoded
        self.plan = plan
        self.teacher_logits = teacher_logits

    def __len__(self) -> int:
        return len(self.plan)

    def __getitem__(self, step: int) -> Batch:
        batch = self.encoded.batch(self.plan[step])
        batch["share_done"] = torch.tensor(step / len(self.plan))
        if self.teacher_logits is not None:
            batch["teacher_logits"] = torch.from_numpy(np.array(self.teacher_logits[self.plan[step]]))
        return batch
