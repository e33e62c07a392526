"""Plans see every example once an epoch, keep lengths together, and depend on the seed alone."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill.batches import evaluation_batches, plan_batches, steps_per_epoch
from distill.checkpoints import load_tokenizer
from distill.encoding import encode
from distill.examples import Split


@given(st.lists(st.integers(1, 60), min_size=1, max_size=300), st.integers(1, 32), st.integers(0, 9))
def test_an_epoch_holds_every_example_once(lengths: list[int], batch: int, seed: int) -> None:
    steps = steps_per_epoch(len(lengths), batch)
    plan = plan_batches(np.array(lengths), batch, 2 * steps, seed)
    for epoch in (plan[:steps], plan[steps:]):
        assert sorted(np.concatenate(epoch).tolist()) == list(range(len(lengths)))
    assert all(len(part) <= batch for part in plan)


def test_batches_of_similar_length_waste_little() -> None:
    lengths = np.random.default_rng(0).integers(5, 80, size=4000)
    plan = plan_batches(lengths, 32, 125, 0)
    padded = sum(lengths[part].max() * len(part) for part in plan)
    assert padded < 1.08 * lengths.sum()


def test_the_plan_is_the_seeds() -> None:
    lengths = np.random.default_rng(0).integers(5, 80, size=200)
    one, same, other = (plan_batches(lengths, 16, 30, seed) for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(one, same, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
    longer = plan_batches(lengths, 16, 50, 1)
    assert all(np.array_equal(a, b) for a, b in zip(one, longer, strict=False))


def test_evaluation_sees_all_once() -> None:
    parts = evaluation_batches(np.array([5, 1, 9, 3]), size=3)
    assert [part.tolist() for part in parts] == [[1, 3, 0], [2]]


@pytest.mark.parametrize("pairs", [None, ("it was cold", "a plot", "very grim scene of the film")])
def test_encoding_is_the_tokenizers(pairs: Any, bert_folder: Any) -> None:
    tokenizer = load_tokenizer(bert_folder)
    texts = ("the film was fine", "dull", "a very very long scene and it was stale and flat")
    encoded = encode(tokenizer, Split(texts, pairs, (0, 1, 0)), 12)
    batch = encoded.batch([2, 0])
    wanted = tokenizer(
        [texts[2], texts[0]], None if pairs is None else [pairs[2], pairs[0]], truncation=True, max_length=12,
        padding=True, return_tensors="pt", return_token_type_ids=True,
    )  # fmt: skip
    for name in ("input_ids", "attention_mask", "token_type_ids"):
        assert batch[name].tolist() == wanted[name].tolist()
    assert batch["labels"].tolist() == [0, 0]
