"""Kinds of tasks: which head answers them, what of an answer is compared with a teacher's, and how it is scored."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import f1_score
from torch import Tensor

from distill.asked_words import hidden_words, words_before_others
from distill.batches import Encoded
from distill.masking import HIDDEN_SHARE
from distill.spans import SpanTexts, best_spans, span_scores
from distill.tags import entity_f1
from runs.registry import Registry
from students.headed import UNLABELLED
from students.spec import Head, HeadKind

Array = npt.NDArray[Any]
Rows = tuple[Tensor, Tensor]
"""Logits [n, classes] and labels [n]: what `distill.objectives.contract.Answers` compares."""

MASKED_LOGIT = -1e4
"""Of a place that is no token: far enough that it is never chosen, and finite in half precision."""


class TaskKind(ABC):
    """One kind of task; `metric` names the first of `scores`, which is from 0 to 1 and the greater the better."""

    head: ClassVar[HeadKind]
    metric: ClassVar[str]
    per_token: ClassVar[bool] = False
    """Whether the model answers for every token [B, S, classes], and not for the text [B, classes]."""
    causal: ClassVar[bool] = False
    """Whether a token sees none that come after it."""

    def head_for(self, label_names: Sequence[str]) -> Head:
        """The head that a model needs for so many labels."""
        return Head(self.head, len(label_names))

    @abstractmethod
    def rows(self, logits: Tensor, labels: Tensor, mask: Tensor) -> Rows:
        """What there is to compare of a batch: logits as the model gives them, labels, mask [B, S] bool."""

    def real(self, mask: Tensor) -> Tensor | None:
        """`Answers.real` of those rows; None where classes are the same in all of them."""
        return None

    def divergence(self, logits: Array, teacher: Array, encoded: Encoded) -> float:
        """How far answers to a split are from a teacher's: mean KL(teacher ‖ student) in nats at temperature 1."""
        ours, theirs = (torch.from_numpy(np.array(x)).double().log_softmax(-1) for x in (logits, teacher))
        return float((theirs.exp() * (theirs - ours)).sum(-1).mean())

    @abstractmethod
    def scores(self, logits: Array, labels: Array, context: Any = None) -> Mapping[str, float]:
        """By name, the kind's `metric` first, of the answers to a split [n, …]; `context` is what a kind needs more."""


KINDS: Registry[TaskKind] = Registry("task kind")


class Classification(TaskKind):
    """One of several classes a text."""

    head = "classification"
    metric = "accuracy"

    def rows(self, logits: Tensor, labels: Tensor, mask: Tensor) -> Rows:
        return logits, labels

    def scores(self, logits: Array, labels: Array, context: Any = None) -> Mapping[str, float]:
        chosen = logits.argmax(-1)
        macro = f1_score(labels, chosen, labels=np.unique(labels), average="macro", zero_division=0)
        return {"accuracy": float(np.mean(chosen == labels)), "macro_f1": float(macro)}


class Regression(TaskKind):
    """A number a text; the score is Pearson's correlation, as of STS-B, and 0 where all answers are the same."""

    head = "regression"
    metric = "pearson"

    def head_for(self, label_names: Sequence[str]) -> Head:
        return Head("regression", 1)

    def rows(self, logits: Tensor, labels: Tensor, mask: Tensor) -> Rows:
        return logits, labels.float()

    def divergence(self, logits: Array, teacher: Array, encoded: Encoded) -> float:
        """Mean squared difference of the answers, as a share of the variance of the teacher's: no scale changes it."""
        theirs = np.asarray(teacher, dtype=np.float64)
        return float(np.mean((logits - theirs) ** 2) / (theirs.var() or 1.0))

    def scores(self, logits: Array, labels: Array, context: Any = None) -> Mapping[str, float]:
        answers = logits[:, 0]
        error = float(np.sqrt(np.mean((answers - labels) ** 2)))
        if np.ptp(answers) == 0 or np.ptp(labels) == 0:
            return {"pearson": 0.0, "spearman": 0.0, "rmse": error}
        pearson, spearman = pearsonr(answers, labels).statistic, spearmanr(answers, labels).statistic
        return {"pearson": max(float(pearson), 0.0), "spearman": float(spearman), "rmse": error}


class Tokens(TaskKind):
    """A label a word, read at its first token; names such as B-place and I-place make entities of neighbours."""

    head = "tokens"
    metric = "f1"
    per_token = True

    def rows(self, logits: Tensor, labels: Tensor, mask: Tensor) -> Rows:
        # What a teacher thinks of a word's later tokens is worth learning too; their label counts for nothing.
        return logits[mask], labels[mask]

    def scores(self, logits: Array, labels: Array, context: Any = None) -> Mapping[str, float]:
        """Logits and labels of all tokens of all texts in a row; `context`: (offsets of texts, names of labels)."""
        offsets, names = context
        known = labels != UNLABELLED
        chosen = logits.argmax(-1)
        found, wanted = [], []
        for start, end in zip(offsets[:-1], offsets[1:], strict=True):
            here = known[start:end]
            found.append([names[label] for label in chosen[start:end][here]])
            wanted.append([names[label] for label in labels[start:end][here]])
        accuracy = float(np.mean(chosen[known] == labels[known]))
        return {"f1": entity_f1(found, wanted), "accuracy": accuracy}


class Spans(TaskKind):
    """Where in a text the answer to a question stands."""

    head = "spans"
    metric = "f1"
    per_token = True

    def head_for(self, label_names: Sequence[str]) -> Head:
        return Head("spans", 2)

    def rows(self, logits: Tensor, labels: Tensor, mask: Tensor) -> Rows:
        """Starts and then ends, [2 · B, S]; `labels` [B, 2] are tokens."""
        masked = logits.float().masked_fill(~mask[..., None], MASKED_LOGIT)
        return torch.cat(masked.unbind(-1)), torch.cat(labels.unbind(-1))

    def real(self, mask: Tensor) -> Tensor:
        return torch.cat((mask, mask))

    def divergence(self, logits: Array, teacher: Array, encoded: Encoded) -> float:
        """Mean KL over the starts and the ends of all texts, each a choice among the text's tokens [tokens, 2]."""
        parts = zip(encoded.offsets[:-1], encoded.offsets[1:], strict=True)
        found = [super(Spans, self).divergence(logits[a:b].T, teacher[a:b].T, encoded) for a, b in parts]
        return float(np.mean(found))

    def scores(self, logits: Array, labels: Array, context: Any = None) -> Mapping[str, float]:
        """Logits [tokens of all texts, 2]; `context` is the `SpanTexts` of the split."""
        texts: SpanTexts = context
        return span_scores(best_spans(logits, texts), texts.answers)


class LanguageModel(TaskKind):
    """Words of a text by the others; the score is the inverse of the perplexity.

    Logits are those of all places [B, S, V], or of the places that are `asked` for alone [places, V].
    """

    metric = "inverse_perplexity"
    per_token = True
    asked_share: ClassVar[float]
    """Of a text's words, how many are asked for, about."""

    @abstractmethod
    def asked(self, labels: Tensor, mask: Tensor) -> Tensor:
        """At which places [B, S] there is a word to find."""

    def head_for(self, label_names: Sequence[str]) -> Head:
        return Head(self.head)

    def divergence(self, logits: Array, teacher: Array, encoded: Encoded) -> float:
        """How much less likely than the teacher the student holds the right words: the mean difference in nats."""
        return float(np.mean(np.asarray(teacher, dtype=np.float64) - logits))

    def scores(self, logits: Array, labels: Array, context: Any = None) -> Mapping[str, float]:
        """`logits` are the log probabilities of the right words [n] here: all words' would fill the memory."""
        loss = -float(np.mean(logits))
        return {"inverse_perplexity": float(np.exp(-loss)), "perplexity": float(np.exp(loss))}


class MaskedWords(LanguageModel):
    """Which words are hidden."""

    head = "masked-lm"
    asked_share = HIDDEN_SHARE

    def asked(self, labels: Tensor, mask: Tensor) -> Tensor:
        """Where a word is hidden."""
        return hidden_words(labels)

    def rows(self, logits: Tensor, labels: Tensor, mask: Tensor) -> Rows:
        asked = self.asked(labels, mask)
        return logits if logits.dim() == 2 else logits[asked], labels[asked]


class NextWords(LanguageModel):
    """Which word follows."""

    head = "causal-lm"
    causal = True
    asked_share = 1.0

    def asked(self, labels: Tensor, mask: Tensor) -> Tensor:
        """Where another word follows."""
        return words_before_others(mask)

    def rows(self, logits: Tensor, labels: Tensor, mask: Tensor) -> Rows:
        """`labels` are the tokens themselves [B, S]."""
        wanted = labels[:, 1:][mask[:, 1:]]
        return logits if logits.dim() == 2 else logits[self.asked(labels, mask)], wanted


for _kind in (Classification(), Regression(), Tokens(), Spans(), MaskedWords(), NextWords()):
    KINDS.register(_kind.head)(_kind)
