"""Contract of every kind of task: what is compared and scored are real tokens alone, and a perfect answer scores 1."""

import numpy as np
import pytest
import torch

from distill.kinds import KINDS
from distill.spans import SpanTexts, best_spans, normalised, span_scores
from distill.tags import entities, entity_f1
from students.headed import UNLABELLED

MASK = torch.tensor([[True, True, True, True], [True, True, False, False]])
LABELS = {
    "classification": torch.tensor([1, 0]),
    "regression": torch.tensor([0.5, 1.5]),
    "tokens": torch.tensor([[UNLABELLED, 1, 0, UNLABELLED], [UNLABELLED, 1, UNLABELLED, UNLABELLED]]),
    "spans": torch.tensor([[1, 2], [1, 1]]),
    "masked-lm": torch.tensor([[UNLABELLED, 1, 0, UNLABELLED], [UNLABELLED, 1, UNLABELLED, UNLABELLED]]),
    "causal-lm": torch.tensor([[1, 1, 0, 2], [0, 1, 3, 3]]),
}


@pytest.mark.parametrize("name", KINDS.names())
class TestKind:
    def test_padding_is_not_compared(self, name: str) -> None:
        kind = KINDS[name]
        shape = {"classification": (2, 3), "regression": (2, 1), "spans": (2, 4, 2)}.get(name, (2, 4, 5))
        logits = torch.randn(shape, generator=torch.Generator().manual_seed(0))
        rows, labels = kind.rows(logits, LABELS[name], MASK)
        assert rows.ndim == 2 and len(rows) == len(labels) > 0
        if kind.per_token:
            spoilt = torch.where(MASK[..., None], logits, 99.0)
            assert torch.equal(kind.rows(spoilt, LABELS[name], MASK)[0], rows)

    def test_the_metric_comes_first(self, name: str) -> None:
        kind = KINDS[name]
        labels = LABELS[name].numpy()
        contexts = {
            "tokens": (np.array([0, 4, 8]), ["O", "B-place"]),
            "spans": SpanTexts(
                ["ab cd", "ef"], np.array([0, 2, 3]), np.array([[0, 2], [3, 5], [0, 2]]), [["cd"], ["ef"]]
            ),
        }
        logits = {
            "classification": np.eye(3)[LABELS["classification"]],
            "regression": np.array([[0.5], [1.5]]),
            "tokens": np.eye(2)[LABELS["tokens"].clamp(min=0)].reshape(-1, 2),
            "spans": np.array([[0.0, 0.0], [5.0, 5.0], [0.0, 0.0]]),
        }.get(name, np.zeros(3))
        scores = kind.scores(logits, labels.reshape(-1) if name == "tokens" else labels, contexts.get(name))
        assert next(iter(scores)) == kind.metric
        assert scores[kind.metric] == pytest.approx(1.0)

    def test_a_head_fits_the_labels(self, name: str) -> None:
        assert KINDS[name].head_for(["a", "b", "c"]).kind == name


def test_words_that_follow_are_the_next_ones() -> None:
    logits = torch.arange(40.0).view(2, 4, 5)
    rows, labels = KINDS["causal-lm"].rows(logits, LABELS["causal-lm"], MASK)
    assert labels.tolist() == [1, 0, 2, 1]
    assert rows[:, 0].tolist() == [0.0, 5.0, 10.0, 20.0]


def test_scores_fall_with_errors() -> None:
    labels = np.array([0, 0, 0, 1])
    scores = KINDS["classification"].scores(np.eye(2)[[0, 0, 0, 0]], labels)
    assert scores["accuracy"] == 0.75 and scores["macro_f1"] == pytest.approx((6 / 7) / 2)
    assert KINDS["regression"].scores(np.ones((3, 1)), np.array([1.0, 2.0, 3.0]))["pearson"] == 0.0
    assert KINDS["masked-lm"].scores(np.log([0.5, 0.5]), labels)["perplexity"] == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["B-x", "I-x", "O", "B-x"], {(0, 2, "x"), (3, 4, "x")}),
        (["B-x", "B-x"], {(0, 1, "x"), (1, 2, "x")}),
        (["I-x", "I-y"], {(0, 1, "x"), (1, 2, "y")}),
        (["O", "O"], set()),
        (["noun", "O", "noun"], {(0, 1, "noun"), (2, 3, "noun")}),
    ],
)
def test_entities(labels: list[str], expected: set[tuple[int, int, str]]) -> None:
    assert entities(labels) == expected


def test_half_an_entity_is_none() -> None:
    assert entity_f1([["B-x", "O"]], [["B-x", "I-x"]]) == 0.0
    assert entity_f1([["B-x", "O", "B-y"]], [["B-x", "O", "O"]]) == pytest.approx(2 / 3)
    assert entity_f1([["O"]], [["O"]]) == 1.0


def test_the_best_span_is_in_the_text_and_runs_forwards() -> None:
    texts = SpanTexts(["one two three"], np.array([0, 4]), np.array([[0, 0], [0, 3], [4, 7], [8, 13]]), [["two three"]])
    logits = np.array([[99.0, 99.0], [0.0, 8.0], [5.0, 0.0], [0.0, 4.0]])
    assert best_spans(logits, texts) == ["two three"]


def test_answers_are_compared_as_squad_does() -> None:
    assert normalised("The  Eiffel-Tower, a tower!") == "eiffeltower tower"
    scores = span_scores(["in Paris", ""], [["Paris", "the city of Paris"], []])
    assert scores["exact_match"] == 0.5 and scores["f1"] == pytest.approx((2 / 3 + 1) / 2)


def test_how_far_numbers_are_apart_does_not_hang_on_their_scale() -> None:
    rng = np.random.default_rng(0)
    theirs, ours = rng.normal(size=(50, 1)), rng.normal(size=(50, 1))
    kind = KINDS["regression"]
    plain = kind.divergence(ours, theirs, None)  # type: ignore[arg-type]
    assert plain > 1
    assert kind.divergence(100 * ours + 7, 100 * theirs + 7, None) == pytest.approx(plain)  # type: ignore[arg-type]
    assert kind.divergence(ours, np.ones((50, 1)), None) == pytest.approx(np.mean((ours - 1) ** 2))  # type: ignore[arg-type]
