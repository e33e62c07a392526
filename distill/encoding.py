"""From texts to tokens: what each kind of task makes of its texts, and where its labels then stand."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from distill.batches import Encoded
from distill.examples import Split
from distill.spans import SpanTexts
from runs.errors import UserError
from runs.registry import Registry
from students.headed import UNLABELLED

Array = npt.NDArray[Any]

ENCODERS: Registry[Callable[[Any, Split, int], Encoded]] = Registry("task kind")
"""Kind → a function of (tokenizer, split, maximum length) to tokens."""


def encode(tokenizer: Any, split: Split, maximum_length: int, kind: str = "classification") -> Encoded:
    """Tokenise a split for a kind of task; what is longer than `maximum_length` tokens is cut."""
    return ENCODERS[kind](tokenizer, split, maximum_length)


def padding_of(tokenizer: Any) -> int:
    """The number of the token that fills up batches; a decoder without one of its own takes that of the text's end."""
    number = tokenizer.pad_token_id
    return int(number if number is not None else (tokenizer.eos_token_id or 0))


def _ragged(rows: list[list[int]], kind: type[np.integer[Any]]) -> Array:
    return np.concatenate([np.asarray(row, dtype=kind) for row in rows])


def _offsets(rows: list[list[int]]) -> Array:
    return np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)


def _encoded(tokenizer: Any, encoding: Any, labels: Array, per_token: bool = False) -> Encoded:
    ids = encoding["input_ids"]
    types = encoding.get("token_type_ids") or [[0] * len(row) for row in ids]
    return Encoded(
        _ragged(ids, np.int32), _ragged(types, np.int8), _offsets(ids), labels, padding_of(tokenizer), per_token
    )


def _texts(tokenizer: Any, split: Split, maximum_length: int) -> Any:
    pairs = None if split.pairs is None else list(split.pairs)
    return tokenizer(
        list(split.texts), pairs, truncation=True, max_length=maximum_length, return_token_type_ids=True,
        return_attention_mask=False,
    )  # fmt: skip


@ENCODERS.register("classification")
def classified(tokenizer: Any, split: Split, maximum_length: int) -> Encoded:
    """Texts or pairs, the longer of a pair cut first; labels [n] are classes."""
    encoding = _texts(tokenizer, split, maximum_length)
    return _encoded(tokenizer, encoding, np.array(split.labels, dtype=np.int64))


@ENCODERS.register("regression")
def valued(tokenizer: Any, split: Split, maximum_length: int) -> Encoded:
    """As of classes; labels [n] are numbers."""
    encoding = _texts(tokenizer, split, maximum_length)
    return _encoded(tokenizer, encoding, np.array(split.labels, dtype=np.float64))


def _require_fast(tokenizer: Any, what: str) -> None:
    if not getattr(tokenizer, "is_fast", False):
        raise UserError(f"{what} needs a tokenizer that knows where its tokens stand: save it with a tokenizer.json.")


@ENCODERS.register("tokens")
def tagged(tokenizer: Any, split: Split, maximum_length: int) -> Encoded:
    """Words; a word's label stands at its first token, and everywhere else there is none."""
    _require_fast(tokenizer, "token classification")
    encoding = tokenizer(
        list(split.texts), truncation=True, max_length=maximum_length, return_offsets_mapping=True,
        return_token_type_ids=True, return_attention_mask=False,
    )  # fmt: skip
    labels = []
    for text, tags, places in zip(split.texts, split.labels, encoding["offset_mapping"], strict=True):
        # The text as it stands, and not word for word: some tokenizers tell a text's first word from all others. A
        # token may begin with the space before its word, so that its last character says which word it is of.
        numbers = np.cumsum([character == " " for character in text])
        before, mine = None, []
        for start, end in places:
            word = int(numbers[end - 1]) if end > start else None
            mine.append(tags[word] if word is not None and word != before else UNLABELLED)
            before = word
        labels.append(mine)
    return _encoded(tokenizer, encoding, _ragged(labels, np.int64), per_token=True)


def _questions(tokenizer: Any, split: Split, maximum_length: int) -> Any:
    _require_fast(tokenizer, "question answering")
    assert split.pairs is not None
    return tokenizer(
        list(split.texts), list(split.pairs), truncation="only_second", max_length=maximum_length,
        return_offsets_mapping=True, return_token_type_ids=True, return_attention_mask=False,
    )  # fmt: skip


def _places(encoding: Any, row: int) -> Array:
    """First character and the one after the last of each token in the pair's text [tokens, 2]; (0, 0) elsewhere."""
    inside = np.array([part == 1 for part in encoding.sequence_ids(row)])
    return np.where(inside[:, None], np.array(encoding["offset_mapping"][row], dtype=np.int64), 0)


@ENCODERS.register("spans")
def asked(tokenizer: Any, split: Split, maximum_length: int) -> Encoded:
    """A question, then its text, which is cut at the end; labels [n, 2] are the first answer's first and last token.

    Without an answer, or where it was cut off, both have none.
    """
    encoding = _questions(tokenizer, split, maximum_length)
    labels = np.full((len(split), 2), UNLABELLED, dtype=np.int64)
    for row, said in enumerate(split.labels):
        if not said:
            continue
        start, text = said[0]
        places = _places(encoding, row)
        first = np.flatnonzero((places[:, 0] <= start) & (start < places[:, 1]))
        last = np.flatnonzero((places[:, 0] < start + len(text)) & (start + len(text) <= places[:, 1]))
        if len(first) and len(last):
            labels[row] = first[0], last[-1]
    return _encoded(tokenizer, encoding, labels)


def span_texts(tokenizer: Any, split: Split, maximum_length: int) -> SpanTexts:
    """What answers are read out of and held against."""
    encoding = _questions(tokenizer, split, maximum_length)
    places = [_places(encoding, row) for row in range(len(split))]
    assert split.pairs is not None
    said = [[text for _, text in answers] for answers in split.labels]
    return SpanTexts(split.pairs, _offsets(encoding["input_ids"]), np.concatenate(places), said)


INNER_MARKS = {"masked-lm": 2, "causal-lm": 0}
"""Marks around each block of a language model."""

STREAM_CHUNK = 1000
"""Texts at a time where only the length of a stream is asked for."""


def _end_of_text(tokenizer: Any, kind: str) -> int:
    """The token that ends each text of a language model."""
    marks = (tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.mask_token_id)
    if kind == "masked-lm" and None in marks:
        raise UserError("masked language modelling needs a tokenizer with [CLS], [SEP] and [MASK]: one is missing.")
    end = marks[1] if kind == "masked-lm" or tokenizer.eos_token_id is None else tokenizer.eos_token_id
    if end is None:
        raise UserError("language modelling needs a tokenizer with a token that ends texts: this one has none.")
    return int(end)


def stream(tokenizer: Any, texts: Sequence[str], kind: str) -> Array:
    """All texts in a row as tokens [n], each with its end."""
    end = _end_of_text(tokenizer, kind)
    # Longer than the model's positions is no fault here: the row of all texts is cut into blocks.
    encoding = tokenizer(list(texts), add_special_tokens=False, return_attention_mask=False, verbose=False)
    return np.concatenate([np.asarray([*row, end], dtype=np.int32) for row in encoding["input_ids"]])


def stream_length(tokenizer: Any, split: Split, kind: str, enough: int) -> int:
    """Tokens of all texts in a row; counted no further than `enough`."""
    found = 0
    for start in range(0, len(split), STREAM_CHUNK):
        found += len(stream(tokenizer, split.texts[start : start + STREAM_CHUNK], kind))
        if found >= enough:
            break
    return found


def _blocks(stream: Array, length: int) -> Array:
    """Full blocks [n, length] of a stream of tokens; the rest is left out."""
    count = len(stream) // length
    if count == 0:
        raise UserError(f"the texts have {len(stream)} tokens, fewer than one block of {length}: give more of them.")
    return stream[: count * length].reshape(count, length)


def _of_blocks(blocks: Array, tokenizer: Any) -> Encoded:
    count, length = blocks.shape
    ids = blocks.reshape(-1).astype(np.int32)
    offsets = np.arange(count + 1, dtype=np.int64) * length
    return Encoded(ids, np.zeros(len(ids), np.int8), offsets, ids.astype(np.int64), padding_of(tokenizer), True)


@ENCODERS.register("masked-lm")
def hidden_words(tokenizer: Any, split: Split, maximum_length: int) -> Encoded:
    """Blocks of `maximum_length` tokens cut from all texts in a row, each between the usual marks; labels are the
    tokens themselves, of which `distill.masking` hides some."""
    begin, end = tokenizer.cls_token_id, _end_of_text(tokenizer, "masked-lm")
    inner = _blocks(stream(tokenizer, split.texts, "masked-lm"), maximum_length - INNER_MARKS["masked-lm"])
    sides = [np.full((len(inner), 1), mark, dtype=np.int32) for mark in (begin, end)]
    return _of_blocks(np.concatenate([sides[0], inner, sides[1]], axis=1), tokenizer)


@ENCODERS.register("causal-lm")
def following_words(tokenizer: Any, split: Split, maximum_length: int) -> Encoded:
    """Blocks of `maximum_length` tokens cut from all texts in a row, each text with its end; labels are the tokens."""
    return _of_blocks(_blocks(stream(tokenizer, split.texts, "causal-lm"), maximum_length), tokenizer)
