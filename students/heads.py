"""What a student answers: head kinds, and the block that each kind ends in with its size and cost, without torch."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

from runs.errors import UserError
from runs.registry import Registry
from students.counts import Cost, elementwise, linear, norm

HeadKind = Literal["none", "classification", "regression", "tokens", "spans", "masked-lm", "causal-lm"]

SPAN_ENDS = 2
"""An answer's first and last token: two scores a token."""

POOLED_HEADS: tuple[HeadKind, ...] = ("classification", "regression")
"""Heads that read the first token alone."""

CAUSAL_LAYERS = ("transformer", "bottleneck", "feed-forward")
"""Layer types that look at no later token, or not under a mask that forbids it."""

FEWEST_LABELS: dict[HeadKind, int] = {"classification": 2, "tokens": 2}
EXACT_LABELS: dict[HeadKind, int] = {"regression": 1, "spans": SPAN_ENDS}


@dataclass(frozen=True)
class Head:
    """What the student answers.

    | kind | answer |
    |---|---|
    | `none` | hidden states [batch, sequence, hidden width] |
    | `classification`, `regression` | logits [batch, labels], from the first token |
    | `tokens` | logits [batch, sequence, labels], for each token |
    | `spans` | start and end logits, [batch, sequence] each: where an answer lies in the text |
    | `masked-lm` | logits [batch, sequence, vocabulary]: which token is hidden at each place |
    | `causal-lm` | logits [batch, sequence, vocabulary]: which token follows; layers look back alone |

    `labels` is the number of scores; language models score their vocabulary, and leave it as it is.
    """

    kind: HeadKind = "classification"
    labels: int = 2

    def __post_init__(self) -> None:
        if self.kind not in get_args(HeadKind):
            raise UserError(f"unknown head {self.kind!r}: use one of {', '.join(get_args(HeadKind))}.")
        if not isinstance(self.labels, int) or isinstance(self.labels, bool) or self.labels < 1:
            raise UserError(f"Head.labels is {self.labels!r}: it must be a whole number of at least 1.")
        exact = EXACT_LABELS.get(self.kind, self.labels)
        if self.labels != exact:
            named = "one label" if exact == 1 else f"{exact} labels"
            raise UserError(f"a {self.kind} head has {named}, not {self.labels}.")
        if self.labels < FEWEST_LABELS.get(self.kind, 1):
            raise UserError(f"a {self.kind} head has at least two labels; one number to predict is a regression.")


@dataclass(frozen=True)
class HeadBlock:
    """Pooler and classifier over the first token; regression is one label without a softmax."""

    hidden_width: int
    labels: int

    def _cost(self, batch_size: int) -> Cost:
        """The first token of each text taken out, pooled, squashed, classified."""
        pooled = linear(batch_size, self.hidden_width, self.hidden_width) + elementwise(batch_size, self.hidden_width)
        return elementwise(batch_size, self.hidden_width) + pooled + linear(batch_size, self.hidden_width, self.labels)

    def parameters(self) -> int:
        """Number of weights."""
        return self._cost(1).parameters

    def flops(self, batch_size: int, sequence_length: int) -> int:
        """FLOPs of matrix products; the length does not matter."""
        return self._cost(batch_size).flops

    def bytes_moved(self, batch_size: int, sequence_length: int, bytes_per_weight: float) -> float:
        """Bytes: weights once, one token's activations."""
        return self._cost(batch_size).bytes_moved(bytes_per_weight)


@dataclass(frozen=True)
class TokenHeadBlock:
    """A linear classifier over every token; for spans its two labels are the scores of first and last token."""

    hidden_width: int
    labels: int

    def _cost(self, tokens: int) -> Cost:
        return linear(tokens, self.hidden_width, self.labels)

    def parameters(self) -> int:
        """Number of weights."""
        return self._cost(1).parameters

    def flops(self, batch_size: int, sequence_length: int) -> int:
        """FLOPs of matrix products."""
        return self._cost(batch_size * sequence_length).flops

    def bytes_moved(self, batch_size: int, sequence_length: int, bytes_per_weight: float) -> float:
        """Bytes: weights once; hidden states in, scores out."""
        return self._cost(batch_size * sequence_length).bytes_moved(bytes_per_weight)


@dataclass(frozen=True)
class LanguageHeadBlock:
    """BERT's transform (linear, GELU, norm) into the embedding width, then the word embedding itself and a bias.

    The embedding's table is *tied*: it is the embedding block's weight and is not counted again.
    """

    hidden_width: int
    embedding_width: int
    vocabulary_size: int

    def _cost(self, tokens: int) -> Cost:
        """With the word embedding among the weights."""
        width = self.embedding_width
        transformed = linear(tokens, self.hidden_width, width) + elementwise(tokens, width) + norm(tokens, width)
        return transformed + linear(tokens, width, self.vocabulary_size)

    def parameters(self) -> int:
        """Number of weights of its own: transform, norm and the bias of every word."""
        return self._cost(1).parameters - self.embedding_width * self.vocabulary_size

    def flops(self, batch_size: int, sequence_length: int) -> int:
        """FLOPs of matrix products."""
        return self._cost(batch_size * sequence_length).flops

    def bytes_moved(self, batch_size: int, sequence_length: int, bytes_per_weight: float) -> float:
        """Bytes: own weights and the whole word embedding once, activations at every operator."""
        return self._cost(batch_size * sequence_length).bytes_moved(bytes_per_weight)


AnyHeadBlock = HeadBlock | TokenHeadBlock | LanguageHeadBlock


@dataclass(frozen=True)
class HeadSizes:
    """What decides a head's size: the student's widths and vocabulary, and the labels of its head."""

    hidden_width: int
    embedding_width: int
    vocabulary_size: int
    labels: int


HEAD_BLOCKS: Registry[Callable[[HeadSizes], AnyHeadBlock | None]] = Registry("head")
"""Head kind → the block that a student of these sizes ends in; None where it ends in hidden states."""


def _pooled(sizes: HeadSizes) -> HeadBlock:
    return HeadBlock(sizes.hidden_width, sizes.labels)


def _each_token(sizes: HeadSizes) -> TokenHeadBlock:
    return TokenHeadBlock(sizes.hidden_width, sizes.labels)


def _language(sizes: HeadSizes) -> LanguageHeadBlock:
    return LanguageHeadBlock(sizes.hidden_width, sizes.embedding_width, sizes.vocabulary_size)


HEAD_BLOCKS.register("none")(lambda sizes: None)
HEAD_BLOCKS.register("classification")(_pooled)
HEAD_BLOCKS.register("regression")(_pooled)
HEAD_BLOCKS.register("tokens")(_each_token)
HEAD_BLOCKS.register("spans")(_each_token)
HEAD_BLOCKS.register("masked-lm")(_language)
HEAD_BLOCKS.register("causal-lm")(_language)
