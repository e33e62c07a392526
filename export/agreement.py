"""How far a file's answers are from the model's, for every kind of head; padding does not count."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from export.builder import Array
from runs.registry import Registry
from students.spec import HeadKind

TOLERANCE = 0.05
"""Regression answers agree within this share of the standard deviation of the model's own."""

COSINE = 0.98
"""An example's hidden states agree from this cosine similarity on."""


@dataclass(frozen=True)
class Parity:
    """How far a file's answers are from the model's."""

    max_abs_error: float
    """Largest absolute difference of a logit, or of a hidden state where there is no head."""
    agreement: float
    """Mean over examples of what `AGREEMENTS` has for the head: the share of examples, or of an example's tokens, with
    the same label."""
    largest: float
    """Largest absolute number among the model's own answers, which tells whether an error is large."""
    examples: int


AGREEMENTS: Registry[Callable[[Array, Array, Array], Array]] = Registry("head")
"""Head kind → (model's answers, file's answers, which tokens count: bool [batch, sequence]) → 0 to 1 for each example.

Answers are [batch, labels] or, where every token has one, [batch, sequence, …]; those of spans are start and end
logits side by side, [batch, sequence, 2].
"""


@AGREEMENTS.register("classification")
def _same_label(reference: Array, answer: Array, counts: Array) -> Array:
    return np.asarray(reference.argmax(axis=-1) == answer.argmax(axis=-1))


@AGREEMENTS.register("regression")
def _close(reference: Array, answer: Array, counts: Array) -> Array:
    near = np.abs(reference - answer) <= TOLERANCE * max(float(reference.std()), 1e-3)
    return np.asarray(near.all(axis=-1))


@AGREEMENTS.register("none")
def _same_direction(reference: Array, answer: Array, counts: Array) -> Array:
    """Cosine similarity over all of an example's states together."""
    states = (np.where(counts[:, :, None], values, 0.0) for values in (reference, answer))
    one, other = (values.reshape(len(values), -1).astype(np.float64) for values in states)
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return np.asarray((one * other).sum(axis=1) >= COSINE * lengths)


def _same_tokens(reference: Array, answer: Array, counts: Array) -> Array:
    """The share of an example's tokens with the same label, or the same most likely word."""
    same = (reference.argmax(axis=-1) == answer.argmax(axis=-1)) & counts
    tokens = counts.sum(axis=1)
    return np.asarray(np.where(tokens > 0, same.sum(axis=1) / np.maximum(tokens, 1), 1.0))


for _kind in ("tokens", "masked-lm", "causal-lm"):
    AGREEMENTS.register(_kind)(_same_tokens)


@AGREEMENTS.register("spans")
def _same_span(reference: Array, answer: Array, counts: Array) -> Array:
    """Whether both ends are at the same token."""
    ends = (np.where(counts[:, :, None], values, -np.inf).argmax(axis=1) for values in (reference, answer))
    return np.asarray((next(ends) == next(ends)).all(axis=-1))


def compare(
    references: Iterable[Array], answers: Iterable[Array], head: HeadKind, masks: Iterable[Array] | None = None
) -> Parity:
    """Parity of answers that were given batch by batch; answers that are not finite count as infinitely wrong.

    `masks` are the batches' attention masks [batch, sequence]; without them every token counts, padding too.
    """
    error = largest = 0.0
    agreeing: list[Array] = []
    given = None if masks is None else iter(masks)
    for reference, answer in zip(references, answers, strict=True):
        per_token = reference.ndim > 2
        mask = None if given is None else next(given)
        if mask is None or not per_token:
            mask = np.ones(reference.shape[:2] if per_token else (len(reference), 1))
        counts = np.asarray(mask, dtype=bool)
        seen = counts if per_token else counts[:, 0]
        difference, numbers = np.abs(reference - answer)[seen], np.abs(reference)[seen]
        finite = np.isfinite(difference).all()
        error = max(error, float(difference.max(initial=0.0)) if finite else float("inf"))
        largest = max(largest, float(numbers.max(initial=0.0)))
        agreeing.append(AGREEMENTS[head](reference, answer, counts))
    agreed = np.concatenate(agreeing)
    return Parity(error, float(agreed.mean()), largest, len(agreed))
