"""A language model's words learnt some after others: the same loss and gradients as all at once."""

from collections.abc import Callable

import pytest
import torch
from small_lessons import gradient, small_batch, small_lesson
from torch import Tensor

import distill.lesson
import distill.word_scores
from distill.lesson import Lesson
from distill.objectives import OBJECTIVES, AnswerObjective
from distill.parts import parts_of
from distill.recipe import Term
from distill.word_scores import loss_in_chunks

OF_ANSWERS = [name for name in OBJECTIVES.names() if isinstance(OBJECTIVES[name], AnswerObjective)]
ALONE = [name for name in OF_ANSWERS if OBJECTIVES[name].each_alone]  # type: ignore[union-attr]
WORDS = pytest.mark.parametrize("kind", ["masked-lm", "causal-lm"])


@pytest.fixture(autouse=True)
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """fp32, and no more than two of 30 words' scores in a chunk."""
    monkeypatch.setattr(distill.lesson, "mixed_precision", lambda device: torch.autocast(device.type, enabled=False))
    monkeypatch.setattr(distill.word_scores, "CHUNK_BYTES", 2 * 4 * 30)


@pytest.fixture
def chunks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many places each chunk of scores had."""
    found: list[int] = []

    def noted(loss: Callable[[Tensor, slice], Tensor], *tensors: Tensor) -> Tensor:
        def note(scores: Tensor, chunk: slice) -> Tensor:
            found.append(len(scores))
            return loss(scores, chunk)

        return loss_in_chunks(note, *tensors)

    monkeypatch.setattr(distill.lesson, "loss_in_chunks", noted)
    return found


def at_once(monkeypatch: pytest.MonkeyPatch, lesson: Lesson, kind: str) -> tuple[float, Tensor]:
    with monkeypatch.context() as now:
        now.setattr(distill.lesson, "word_rows", lambda student, batch: None)
        return gradient(lesson, [small_batch(kind)])


@WORDS
@pytest.mark.parametrize("name", ALONE)
def test_chunks_add_up(name: str, kind: str, monkeypatch: pytest.MonkeyPatch, chunks: list[int]) -> None:
    lesson = small_lesson(kind, Term(name, temperature=2.0, shift=name != "labels"), Term("labels", weight=0.5))
    wanted_loss, wanted = at_once(monkeypatch, lesson, kind)
    assert not chunks
    batch = small_batch(kind)
    for parts in ([batch], parts_of(lesson, batch, 2)):
        chunks.clear()
        loss, found = gradient(lesson, parts)
        assert len(chunks) > len(parts) and max(chunks) == 2
        assert loss == pytest.approx(wanted_loss, rel=1e-5)
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-6 * float(wanted.abs().max()))


@WORDS
@pytest.mark.parametrize(
    "terms",
    [
        (Term("logits-dist"),),
        (Term("logits", temperature_rule="flsw"),),
        (Term("logits", temperature_rule="cwsm"),),
        (Term("logits"), Term("hidden")),
    ],
)
def test_what_looks_at_more_than_one_word_sees_all(
    terms: tuple[Term, ...], kind: str, monkeypatch: pytest.MonkeyPatch, chunks: list[int]
) -> None:
    lesson = small_lesson(kind, *terms)
    loss, found = gradient(lesson, [small_batch(kind)])
    wanted_loss, wanted = at_once(monkeypatch, lesson, kind)
    assert not chunks and loss == wanted_loss and torch.equal(found, wanted)


def test_gradients_follow_what_becomes_of_the_loss() -> None:
    torch.manual_seed(0)
    rows, words, bias = (torch.randn(*size, requires_grad=True) for size in ((5, 4), (30, 4), (30,)))
    labels = torch.arange(5)

    def loss(scores: Tensor, chunk: slice) -> Tensor:
        return torch.nn.functional.cross_entropy(scores, labels[chunk], reduction="sum")

    whole = loss(torch.nn.functional.linear(rows, words, bias), slice(None))
    wanted = torch.autograd.grad(0.25 * whole, (rows, words, bias))
    total = loss_in_chunks(loss, rows, words, bias)
    torch.testing.assert_close(total, whole)
    torch.testing.assert_close(torch.autograd.grad(0.25 * total, (rows, words, bias)), wanted)


def test_no_words_have_no_loss() -> None:
    rows, words, bias = (torch.ones(*size, requires_grad=True) for size in ((0, 4), (30, 4), (30,)))
    total = loss_in_chunks(lambda scores, chunk: scores.sum(), rows, words, bias)
    total.backward()
    assert float(total.detach()) == 0.0 and words.grad is not None and not words.grad.any()
