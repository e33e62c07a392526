"""From a source's columns to texts and labels: which kind of task they are, and whether they are what they must be."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from distill.cells import is_missing, is_text, listed, plain, shown
from distill.labelling import LABELLINGS, RawSplit
from runs.errors import UserError
from runs.registry import Registry

LOCAL_FORMS = (
    "a CSV, JSONL or Parquet file with columns text, label and optionally text_pair (or tokens and tags; or question, "
    "context and answers), a SQuAD file (.json), a plain text (.txt), or a folder with such files named train, "
    "validation and test"
)

WORDS, TAGS = ("tokens", "words"), ("tags", "ner_tags", "labels")
"""Names that a column of words, and one of their tags, may have."""

Columns = Mapping[str, list[Any]]

MAKERS: Registry[Callable[[Columns, str, str], RawSplit]] = Registry("task kind")
"""Kind → a function of (columns, place for errors, kind) to a split."""


def _named(columns: Columns, names: tuple[str, ...]) -> list[Any] | None:
    return next((columns[name] for name in names if name in columns), None)


def kind_of(columns: Columns) -> str:
    """The kind of task that columns tell by their names and values; language modelling has to be asked for by name."""
    if _named(columns, WORDS) is not None and _named(columns, TAGS) is not None:
        return "tokens"
    if {"question", "context", "answers"} <= set(columns):
        return "spans"
    # One that is missing says nothing of the others' kind, and is told by its row afterwards.
    labels = [value for value in map(plain, columns.get("label", [])) if not is_missing(value)]
    numbers = [value for value in labels if isinstance(value, int | float)]
    on_a_scale = any(isinstance(value, float) and not value.is_integer() for value in numbers)
    return "regression" if on_a_scale and len(numbers) == len(labels) else "classification"


def raw_split(columns: Columns, place: str, kind: str | None = None) -> RawSplit:
    """Check that the columns of a kind of task are there and hold something; `place` names the file in errors.

    Without a `kind` it is told from the columns.
    """
    if kind is not None:
        LABELLINGS[kind]
    kind = kind or kind_of(columns)
    return MAKERS[kind](columns, place, kind)


def _require(columns: Columns, names: tuple[str, ...], place: str) -> None:
    for name in names:
        if name not in columns:
            found = listed(columns) or "none"
            wanted = " and ".join(names)
            alone = "; distill-student learns from texts alone with --task masked-lm" if "text" in columns else ""
            raise UserError(f"{place} has no column {name!r} (it has: {found}): the columns must be {wanted}{alone}.")
    if not columns[names[0]]:
        raise UserError(f"{place} is empty: it needs at least a few rows.")


def _require_texts(columns: Columns, names: tuple[str, ...], place: str) -> None:
    for name in names:
        for number, value in enumerate(columns.get(name, [])):
            if not is_text(value):
                said = f"{place}, row {number + 1}, column {name!r} holds {shown(value)}"
                raise UserError(f"{said} where a text should be.")


def _listed(value: Any) -> list[Any] | None:
    """The entries of a list, a tuple or an array; None of anything else."""
    value = value.tolist() if isinstance(value, np.ndarray) else value
    return list(value) if isinstance(value, list | tuple) else None


@MAKERS.register("classification")
@MAKERS.register("regression")
def labelled_texts(columns: Columns, place: str, kind: str) -> RawSplit:
    """text, label, and perhaps text_pair."""
    _require(columns, ("text", "label"), place)
    _require_texts(columns, ("text", "text_pair"), place)
    return RawSplit(columns["text"], columns.get("text_pair"), columns["label"], place, kind)


@MAKERS.register("tokens")
def tagged_words(columns: Columns, place: str, kind: str) -> RawSplit:
    """Words and a tag for each; a text is its words with single spaces between."""
    words, tags = _named(columns, WORDS), _named(columns, TAGS)
    if words is None or tags is None:
        found = listed(columns) or "none"
        raise UserError(f"{place} has no words with tags (its columns: {found}): the columns must be tokens and tags.")
    if not words:
        raise UserError(f"{place} is empty: it needs at least a few rows.")
    texts, labels = [], []
    for number, (row, theirs) in enumerate(zip(words, tags, strict=True)):
        mine, tagged = _listed(row), _listed(theirs)
        if mine is None or tagged is None:
            wrong = shown(row if mine is None else theirs)
            raise UserError(f"{place}, row {number + 1} has {wrong} where a list, a word or a tag each, should be.")
        for word in mine:
            if not is_text(word) or word.split() != [word]:
                raise UserError(f"{place}, row {number + 1} has {shown(word)} where a single word should be.")
        if not mine:
            raise UserError(f"{place}, row {number + 1} has no words: drop it.")
        texts.append(" ".join(mine))
        labels.append(tagged)
    return RawSplit(texts, None, labels, place, kind)


@MAKERS.register("spans")
def questions(columns: Columns, place: str, kind: str) -> RawSplit:
    """Questions, the texts they are about, and answers: {"text": [...], "answer_start": [...]} as SQuAD has them."""
    _require(columns, ("question", "context", "answers"), place)
    _require_texts(columns, ("question", "context"), place)
    labels = []
    for number, row in enumerate(columns["answers"]):
        given = row if isinstance(row, Mapping) else {}
        starts, said = (_listed(given.get(name)) for name in ("answer_start", "text"))
        if starts is None or said is None or len(starts) != len(said) or not all(map(_is_answer, starts, said)):
            raise UserError(
                f"{place}, row {number + 1}, column 'answers' is {shown(row)}: it must have text and answer_start, a "
                "list of answers and one of the places of their first characters."
            )
        labels.append(list(zip(starts, said, strict=True)))
    titles = columns.get("title")
    groups = None if titles is None else ["" if is_missing(title) else ascii(title) for title in titles]
    return RawSplit(columns["question"], columns["context"], labels, place, kind, groups)


def _is_answer(start: Any, text: Any) -> bool:
    return isinstance(start, int) and not isinstance(start, bool) and start >= 0 and is_text(text)


@MAKERS.register("masked-lm")
@MAKERS.register("causal-lm")
def texts_alone(columns: Columns, place: str, kind: str) -> RawSplit:
    """Texts, whatever else there is."""
    _require(columns, ("text",), place)
    _require_texts(columns, ("text",), place)
    return RawSplit(columns["text"], None, [0] * len(columns["text"]), place, kind)
