"""How well a model answers: its answers to a whole split, their scores, and how far they are from a teacher's."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from distill.batches import Encoded, Prepare, evaluation_batches
from distill.encoding import encode, span_texts
from distill.examples import Split
from distill.features import extract
from distill.forms import positions_of
from distill.kinds import KINDS, LanguageModel, TaskKind
from distill.masking import masking_of
from distill.numerics import mixed_precision, training_device

Logits = npt.NDArray[np.float32]

WORDS_BATCH = 8
"""Texts at a time where every token has a score for each word."""

EVALUATION_SEED = 20230
"""Decides which words are hidden from a masked language model that is asked for a split."""


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Scores by name, the metric first, and the answers they come from, in the split's order (`answer`)."""

    scores: Mapping[str, float]
    logits: Logits

    @property
    def metric(self) -> str:
        """Name of the score that counts."""
        return next(iter(self.scores))

    @property
    def score(self) -> float:
        """The score that counts, 0 to 1, the greater the better."""
        return self.scores[self.metric]


def _right_words(kind: TaskKind, logits: Tensor, labels: Tensor, mask: Tensor) -> Tensor:
    """Log probabilities of the words that were asked for."""
    rows, wanted = kind.rows(logits, labels, mask)
    return rows.float().log_softmax(-1).gather(-1, wanted[:, None])[:, 0]


@torch.no_grad()
def answer(
    model: Any, encoded: Encoded, kind: str = "classification", mixed: bool = False, prepare: Prepare | None = None
) -> Logits:
    """Answers to every example in order; `mixed` allows bf16, which is faster and a little coarser.

    Logits [n, labels]; where there are some for each token [tokens, labels]; of language models the log probabilities
    of the right words, batch after batch. `prepare` is done to each batch (`distill.batches.Prepare`).
    """
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    chosen = KINDS[kind]
    of_words = isinstance(chosen, LanguageModel)
    batches = evaluation_batches(encoded.lengths, *([WORDS_BATCH] if of_words else []))
    parts: list[list[Logits]] = []
    with mixed_precision(device) if mixed else torch.autocast(device.type, enabled=False):
        for number, indices in enumerate(batches):
            batch = encoded.batch(indices)
            if prepare is not None:
                batch = prepare(batch, (EVALUATION_SEED, number))
            batch = {name: tensor.to(device) for name, tensor in batch.items()}
            features = extract(model, batch, frozenset())
            if of_words:
                found = [_right_words(chosen, features.logits, batch["labels"], features.mask)]
            elif chosen.per_token:
                found = [row[real] for row, real in zip(features.logits, features.mask, strict=True)]
            else:
                found = list(features.logits)
            parts.append([one.float().cpu().numpy() for one in found])
    model.train(was_training)
    if of_words:
        return np.concatenate([one for part in parts for one in part])
    by_example = dict(zip(np.concatenate(batches).tolist(), (one for part in parts for one in part), strict=True))
    ordered = [by_example[place] for place in range(len(encoded))]
    return np.concatenate(ordered) if chosen.per_token else np.stack(ordered)


def context_of(
    kind: str, tokenizer: Any, split: Split, encoded: Encoded, maximum_length: int, names: tuple[str, ...]
) -> Any:
    """What `TaskKind.scores` needs beside answers and labels."""
    if kind == "tokens":
        return encoded.offsets, names
    return span_texts(tokenizer, split, maximum_length) if kind == "spans" else None


def evaluate(
    model: Any,
    tokenizer: Any,
    split: Split,
    maximum_length: int | None = None,
    kind: str = "classification",
    names: tuple[str, ...] = (),
) -> Evaluation:
    """Answer a split in fp32 on the best device and score it; the model is left where it was.

    Texts are cut at `maximum_length` tokens, by default at the model's number of positions; `names` are those of tags.
    """
    positions = positions_of(model)
    length = min(maximum_length or positions, positions)
    encoded = encode(tokenizer, split, length, kind)
    home = next(model.parameters()).device
    logits = answer(model.to(training_device()), encoded, kind, prepare=masking_of(kind, tokenizer))
    model.to(home)
    context = context_of(kind, tokenizer, split, encoded, length, names)
    return Evaluation(KINDS[kind].scores(logits, encoded.labels, context), logits)
