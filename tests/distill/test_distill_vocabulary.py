"""Training on the words of the data alone is the same training, with fewer rows."""

import numpy as np
import torch

from distill.batches import Encoded, PlannedBatches, plan_batches
from distill.brief import train_briefly
from distill.lesson import Lesson
from distill.recipe import Optimization, Term
from distill.vocabulary import leave_out_others, renumbered, used_words
from students.model import build_student, encoder_of
from students.spec import Head, uniform_spec

SPEC = uniform_spec(1, 16, 2, 24, vocabulary_size=200, maximum_positions=12, head=Head("classification", 2))
SETTINGS = Optimization(3e-3, 1, batch_size=8)


def texts(seed: int, words: int = 40) -> Encoded:
    rng = np.random.default_rng(seed)
    lengths = rng.integers(3, 10, size=32)
    ids = rng.choice(np.arange(7, 7 + 4 * words, 4), size=lengths.sum()).astype(np.int32)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return Encoded(ids, np.zeros_like(ids, dtype=np.int8), offsets, rng.integers(0, 2, size=32), 3)


def test_words_are_counted_once_and_padding_is_one_of_them() -> None:
    found = used_words([texts(0), texts(1)])
    assert 3 in found and list(found) == sorted(set(found)) and set(texts(0).ids) <= set(found)
    again = renumbered(texts(0), found)
    assert (found[again.ids] == texts(0).ids).all() and found[again.padding_id] == 3


def test_a_model_with_fewer_rows_answers_alike() -> None:
    model, encoded = build_student(SPEC, 1), texts(0)
    words = used_words([encoded])
    before = model(encoded.batch([0, 1, 2])["input_ids"]).logits
    left_out = leave_out_others(model, words)
    assert len(encoder_of(model).embeddings.word.weight) == len(words)
    after = model(renumbered(encoded, words).batch([0, 1, 2])["input_ids"]).logits
    assert torch.equal(before, after)
    left_out.restore(model)
    assert torch.equal(model(encoded.batch([0, 1, 2])["input_ids"]).logits, before)


def test_it_is_the_same_training() -> None:
    encoded = texts(0)
    words = used_words([encoded])
    plan = plan_batches(encoded.lengths, SETTINGS.batch_size, 12, 0)
    whole, cut = (Lesson(build_student(SPEC, 1), (Term("labels"),)) for _ in range(2))
    first = train_briefly(whole, PlannedBatches(encoded, plan), SETTINGS)
    left_out = leave_out_others(cut.student, words)
    second = train_briefly(cut, PlannedBatches(renumbered(encoded, words), plan), SETTINGS)
    left_out.restore(cut.student)
    assert abs(first - second) < 1e-5
    for ours, theirs in zip(whole.student.parameters(), cut.student.parameters(), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-5)
    start = encoder_of(build_student(SPEC, 1)).embeddings.word.weight
    unread = [word for word in range(200) if word not in words]
    assert torch.equal(encoder_of(cut.student).embeddings.word.weight[unread], start[unread])
