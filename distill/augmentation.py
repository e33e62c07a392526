"""More texts out of few: tokens replaced by ones that the teacher embeds nearby, for the teacher to answer anew.

The idea is TinyBERT's (Jiao et al. 2020), which asks a masked language model and GloVe for words; the teacher's own
word embeddings are always at hand.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from distill.batches import Encoded

Table = npt.NDArray[np.float32]
Words = npt.NDArray[np.int64]

CHUNK = 1024
"""Words whose neighbours are looked for at a time."""


@dataclass(frozen=True)
class Replacement:
    """How texts are changed: `copies` of each, each token replaced with probability `share` by one of its `nearest`."""

    copies: int = 4
    share: float = 0.15
    nearest: int = 10


def nearest_words(table: Table, words: Words, count: int) -> Words:
    """Of each of `words` the `count` others of them that lie nearest by cosine, [words, count]; table [vocabulary, w].

    Fewer where there are no more.
    """
    rows = table[words].astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True).clip(min=np.finfo(np.float32).tiny)
    count = min(count, len(words) - 1)
    found = np.empty((len(words), count), dtype=np.int64)
    for start in range(0, len(words), CHUNK):
        likeness = rows[start : start + CHUNK] @ rows.T
        places = np.arange(len(likeness))
        likeness[places, start + places] = -np.inf
        best = np.argpartition(-likeness, count - 1, axis=1)[:, :count] if count else np.empty((len(likeness), 0), int)
        found[start : start + CHUNK] = words[best]
    return found


def with_replacements(
    encoded: Encoded, table: Table, settings: Replacement, special: Collection[int], seed: int = 0
) -> Encoded:
    """The texts and then their changed copies, which keep their labels; `special` tokens stay as they are.

    Words are replaced by words of these texts alone: others would be as new to the student as to nobody who asks it.
    """
    words = np.setdiff1d(np.unique(encoded.ids), list(special)).astype(np.int64)
    if len(words) < 2 or settings.copies < 1:
        return encoded
    others = nearest_words(table, words, settings.nearest)
    copies = [encoded.ids]
    for copy in range(settings.copies):
        rng = np.random.default_rng([seed, copy])
        ids = encoded.ids.copy()
        places = np.searchsorted(words, ids).clip(max=len(words) - 1)
        changed = (words[places] == ids) & (rng.random(len(ids)) < settings.share)
        choice = rng.integers(others.shape[1], size=len(ids))
        ids[changed] = others[places[changed], choice[changed]]
        copies.append(ids)
    times = settings.copies + 1
    lengths = np.tile(encoded.lengths, times)
    return replace(
        encoded,
        ids=np.concatenate(copies),
        types=np.tile(encoded.types, times),
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        labels=np.tile(encoded.labels, times),
    )
