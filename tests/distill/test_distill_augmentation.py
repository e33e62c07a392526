"""Changed copies of texts: neighbours are the nearest, special tokens stay, the same seed says the same."""

import numpy as np
import pytest

from distill.augmentation import Replacement, nearest_words, with_replacements
from distill.batches import Encoded

SPECIAL = (0, 1)


@pytest.fixture
def encoded() -> Encoded:
    texts = [[0, 2, 3, 1], [0, 4, 5, 6, 7, 1], [0, 2, 2, 2, 1]]
    ids = np.concatenate(texts).astype(np.int32)
    offsets = np.concatenate([[0], np.cumsum([len(text) for text in texts])]).astype(np.int64)
    return Encoded(ids, np.zeros_like(ids, dtype=np.int8), offsets, np.array([0, 1, 1]), 9)


@pytest.fixture
def table() -> np.ndarray:
    """Words 2 to 7 on a circle, neighbours in number neighbours in angle."""
    angles = np.arange(10) * 0.3
    return np.column_stack([np.cos(angles), np.sin(angles)]).astype(np.float32) * 5


def test_neighbours_are_the_nearest(table: np.ndarray) -> None:
    found = nearest_words(table, np.array([2, 3, 5, 7]), 2)
    assert [set(row) for row in found] == [{3, 5}, {2, 5}, {3, 7}, {5, 3}]
    assert nearest_words(table, np.array([2, 3]), 5).tolist() == [[3], [2]]


def test_copies_change_words_and_nothing_else(encoded: Encoded, table: np.ndarray) -> None:
    grown = with_replacements(encoded, table, Replacement(copies=20, share=0.5, nearest=2), SPECIAL)
    assert len(grown) == 21 * len(encoded)
    original = grown.batch([0, 1, 2])["input_ids"]
    assert (original == encoded.batch([0, 1, 2])["input_ids"]).all()
    assert (grown.labels == np.tile(encoded.labels, 21)).all() and (grown.lengths == np.tile(encoded.lengths, 21)).all()
    times = np.tile(encoded.ids, 21)
    changed = grown.ids != times
    assert not changed[: len(encoded.ids)].any()
    assert not np.isin(times[changed], SPECIAL).any() and not np.isin(grown.ids[changed], SPECIAL).any()
    assert 0.3 < changed[len(encoded.ids) :][~np.isin(times[len(encoded.ids) :], SPECIAL)].mean() < 0.7
    assert (np.abs(grown.ids[changed] - times[changed]) <= 2).all()


def test_seeds_decide(encoded: Encoded, table: np.ndarray) -> None:
    one, same, other = (with_replacements(encoded, table, Replacement(share=0.5), SPECIAL, seed) for seed in (0, 0, 1))
    assert (one.ids == same.ids).all() and (one.ids != other.ids).any()


def test_one_word_has_nothing_to_be_replaced_by(encoded: Encoded, table: np.ndarray) -> None:
    alone = Encoded(np.array([0, 2, 1], dtype=np.int32), encoded.types[:3], np.array([0, 3]), np.array([0]), 9)
    assert with_replacements(alone, table, Replacement(), SPECIAL) is alone
