"""Tokenised splits, and the plan of a whole training run: which examples stand together in which step."""

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset

from students.headed import UNLABELLED

Batch = dict[str, torch.Tensor]

BUCKET_BATCHES = 16
"""Batches' worth of examples sorted by length together: enough to cut padding, few enough to stay random."""

EVALUATION_BATCH = 64


@dataclass(frozen=True, eq=False)
class Encoded:
    """Token ids and token types of a split, ragged: example i holds `offsets[i]:offsets[i + 1]`.

    Labels are [n], classes or values; [n, 2], the tokens of a span; or, `per_token`, ragged like the ids.
    """

    ids: npt.NDArray[np.int32]
    types: npt.NDArray[np.int8]
    offsets: npt.NDArray[np.int64]
    labels: npt.NDArray[Any]
    padding_id: int
    per_token: bool = False

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def texts_hash(self) -> str:
        """Changes with any token and where texts begin."""
        return sha256(self.ids.tobytes() + self.offsets.tobytes()).hexdigest()[:16]

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Tokens of each example, [n]."""
        return np.diff(self.offsets)

    def slice(self, start: int, end: int) -> "Encoded":
        """The examples from `start` to before `end`."""
        offsets = self.offsets[start : end + 1]
        tokens = slice(int(offsets[0]), int(offsets[-1]))
        labels = self.labels[tokens] if self.per_token else self.labels[start:end]
        return replace(
            self, ids=self.ids[tokens], types=self.types[tokens], offsets=offsets - offsets[0], labels=labels
        )

    def take(self, indices: npt.NDArray[np.int64]) -> "Encoded":
        """The examples at `indices`, in that order."""
        lengths = self.lengths[indices]
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        tokens = np.arange(offsets[-1]) + np.repeat(self.offsets[:-1][indices] - offsets[:-1], lengths)
        labels = self.labels[tokens] if self.per_token else self.labels[indices]
        return replace(self, ids=self.ids[tokens], types=self.types[tokens], offsets=offsets, labels=labels)

    def batch(self, indices: Sequence[int] | npt.NDArray[np.int64]) -> Batch:
        """The examples at `indices` padded to the longest of them: int64 [B, S] thrice, labels [B], [B, 2], [B, S]."""
        lengths = self.lengths[indices]
        mask = np.arange(int(lengths.max())) < lengths[:, None]
        labels = self.padded(self.labels, indices, UNLABELLED) if self.per_token else self.labels[indices]
        arrays = {
            "input_ids": self.padded(self.ids, indices, self.padding_id).astype(np.int64),
            "attention_mask": mask.astype(np.int64),
            "token_type_ids": self.padded(self.types, indices, 0).astype(np.int64),
            "labels": labels,
        }
        return {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}

    def padded(
        self, values: npt.NDArray[Any], indices: Sequence[int] | npt.NDArray[np.int64], filling: float
    ) -> npt.NDArray[Any]:
        """Values of all tokens [tokens, ...] → those of the examples at `indices` [B, S, ...], `filling` at padding."""
        lengths = self.lengths[indices]
        found = np.full((len(lengths), int(lengths.max()), *values.shape[1:]), filling, dtype=values.dtype)
        for row, index in enumerate(indices):
            found[row, : lengths[row]] = values[self.offsets[index] : self.offsets[index + 1]]
        return found


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


Prepare = Callable[[Batch, Sequence[int]], Batch]
"""What is done to a batch last (batch, seed), such as hiding words."""


class PlannedBatches(Dataset[Batch]):
    """The batches of a run by step, each with its share of the run already done and, if given, the teacher's logits.

    Those are [n, ...] or, where the model answers for each token, [tokens, ...]. `prepare` is told `seed` and step.
    `inside` adds more of the teacher to a batch (`distill.stored_features`), up to `inside_until` of the run.
    """

    def __init__(
        self,
        encoded: Encoded,
        plan: list[npt.NDArray[np.int64]],
        teacher_logits: npt.NDArray[np.float32] | None = None,
        prepare: Prepare | None = None,
        seed: int = 0,
        inside: Any = None,
        inside_until: float = 1.0,
    ) -> None:
        self.encoded = encoded
        self.plan = plan
        self.teacher_logits = teacher_logits
        self.prepare = prepare
        self.seed = seed
        self.inside = inside
        self.inside_until = inside_until

    def over(self, encoded: Encoded) -> "PlannedBatches":
        """The same batches of the same texts with other numbers for their words."""
        other = copy(self)
        other.encoded = encoded
        return other

    def __len__(self) -> int:
        return len(self.plan)

    def __getitem__(self, step: int) -> Batch:
        chosen = self.plan[step]
        batch = self.encoded.batch(chosen)
        batch["share_done"] = torch.tensor(step / len(self.plan))
        if self.teacher_logits is not None:
            each_token = len(self.teacher_logits) == len(self.encoded.ids)
            logits = (
                self.encoded.padded(self.teacher_logits, chosen, 0.0) if each_token else self.teacher_logits[chosen]
            )
            batch["teacher_logits"] = torch.from_numpy(np.array(logits))
        if self.inside is not None and step / len(self.plan) < self.inside_until:
            batch |= self.inside.in_batch(self.encoded, chosen)
        return batch if self.prepare is None else self.prepare(batch, (self.seed, step))
