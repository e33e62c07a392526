"""Blocks of log probabilities hold all words, and perplexities are compared as they say."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from perplexities import blocks, perplexity, times  # noqa: E402


def test_blocks_hold_all_words_once() -> None:
    values = -np.random.default_rng(0).random(1049)
    found = blocks(values)
    assert len(found) == 10
    assert perplexity(found) == pytest.approx(np.exp(-values.mean()), rel=1e-3)


def test_a_constant_gain_is_a_factor_without_a_doubt() -> None:
    theirs = -np.random.default_rng(0).random(40) - 4
    assert times(theirs + np.log(2), theirs) == pytest.approx([0.5] * 3, abs=1e-4)
    mean, low, high = times(theirs + np.random.default_rng(1).normal(0, 0.1, 40), theirs)
    assert low < mean < high
