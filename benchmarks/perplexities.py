"""How well language models know the words of a test split, block by block, so that two of them can be compared."""

from typing import Any

import numpy as np
from protocol import paired_bootstrap

from distill.classroom import Classroom
from distill.encoding import encode
from distill.evaluation import answer
from distill.examples import Split

BLOCK = 100
"""Words whose log probabilities are kept as one mean: about what is asked of one text."""


def blocks(log_probabilities: Any) -> list[float]:
    """Means over about `BLOCK` words after each other."""
    parts = np.array_split(log_probabilities, max(1, round(len(log_probabilities) / BLOCK)))
    return [round(float(part.mean()), 5) for part in parts]


def read(room: Classroom, model: Any, split: Split) -> list[float]:
    """Mean log probabilities of a split's words, block after block."""
    kind = room.task.kind
    encoded = encode(room.tokenizer, split, room.teacher.maximum_length, kind)
    return blocks(answer(model, encoded, kind, prepare=room.masking))


def perplexity(found: Any) -> float:
    """Of means of log probabilities."""
    return float(np.exp(-np.mean(found)))


def times(ours: Any, theirs: Any) -> list[float]:
    """How many times another's perplexity one's own is, and its 95 % interval, paired over blocks and seeds."""
    gain = paired_bootstrap(ours, theirs)
    # A gain in log probability is a factor of the perplexity.
    return [round(float(np.exp(-value)), 4) for value in (gain.mean, gain.high, gain.low)]
