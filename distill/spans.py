"""Answers as places in a text: the best span of a text's tokens, and how well it fits what people answered (SQuAD)."""

import re
import string
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

MOST_TOKENS = 30
"""Of an answer."""

ARTICLES = re.compile(r"\b(a|an|the)\b")
PUNCTUATION = str.maketrans("", "", string.punctuation)


@dataclass(frozen=True, eq=False)
class SpanTexts:
    """What is needed to read answers out of tokens.

    offsets [n + 1] of the texts in the rows of tokens; places [tokens, 2]: first character and the one after the last
    of each token in its text, (0, 0) for a token that is none of the text's; answers: what people said, for each text.
    """

    texts: Sequence[str]
    offsets: Array
    places: Array
    answers: Sequence[Sequence[str]]


def best_spans(logits: Array, texts: SpanTexts) -> list[str]:
    """The text of the best span of each: greatest start and end together, at most so many tokens [tokens, 2]."""
    found = []
    for text, first, end in zip(texts.texts, texts.offsets[:-1], texts.offsets[1:], strict=True):
        places = texts.places[first:end]
        tokens = np.flatnonzero(places[:, 1] > places[:, 0])
        if not len(tokens):
            found.append("")
            continue
        starts, ends = logits[first:end][tokens].T
        together = starts[:, None] + ends[None, :]
        count = np.arange(len(tokens))
        length = count[None, :] - count[:, None]
        together = np.where((length >= 0) & (length < MOST_TOKENS), together, -np.inf)
        begin, stop = np.unravel_index(int(together.argmax()), together.shape)
        found.append(text[places[tokens[begin], 0] : places[tokens[stop], 1]])
    return found


def normalised(answer: str) -> str:
    """Small letters, without punctuation, articles and double spaces: SQuAD's rule."""
    return " ".join(ARTICLES.sub(" ", answer.lower().translate(PUNCTUATION)).split())


def _overlap(said: str, wanted: str) -> float:
    """F1 of the words of two answers; two empty ones agree."""
    ours, theirs = normalised(said).split(), normalised(wanted).split()
    if not ours or not theirs:
        return float(ours == theirs)
    shared = sum((Counter(ours) & Counter(theirs)).values())
    return 2 * shared / (len(ours) + len(theirs))


def span_scores(said: Sequence[str], wanted: Sequence[Sequence[str]]) -> Mapping[str, float]:
    """Mean F1 of words and share of exact matches, each with the best fitting of what people answered.

    A question that nobody answered is answered by nothing.
    """
    overlap, exact = [], []
    for ours, theirs in zip(said, wanted, strict=True):
        known = list(theirs) or [""]
        overlap.append(max(_overlap(ours, one) for one in known))
        exact.append(max(float(normalised(ours) == normalised(one)) for one in known))
    return {"f1": float(np.mean(overlap)), "exact_match": float(np.mean(exact))}
