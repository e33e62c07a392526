"""Tasks as data: texts, labels and splits, and how a source's raw columns become a checked task."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from distill.splits import Row, Splits, split_given, split_single
from runs.errors import UserError
from runs.files import content_hash
from runs.progress import Progress
from runs.registry import Registry

LOCAL_FORMS = (
    "a CSV, JSONL or Parquet file with columns text, label and optionally text_pair, or a folder with such files "
    "named train, validation and test"
)

COLUMNS = ("text", "label")


@dataclass(frozen=True)
class Split:
    """Examples of one split; `pairs` is None unless every example has a second text. Labels index the label names."""

    texts: tuple[str, ...]
    pairs: tuple[str, ...] | None
    labels: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.texts)

    def given(self) -> list[str | tuple[str, str]]:
        """Each example's text, or pair of texts."""
        return list(self.texts) if self.pairs is None else list(zip(self.texts, self.pairs, strict=True))

    def select(self, indices: Sequence[int]) -> "Split":
        """The examples at `indices`, in that order."""
        pairs = None if self.pairs is None else tuple(self.pairs[i] for i in indices)
        return Split(tuple(self.texts[i] for i in indices), pairs, tuple(self.labels[i] for i in indices))


@dataclass(frozen=True)
class Task:
    """A classification task. `content_hash` changes with any text, label or split, and with nothing else."""

    name: str
    source: str
    licence: str
    label_names: tuple[str, ...]
    train: Split
    validation: Split
    test: Split
    content_hash: str
    metric: str = "accuracy"


@dataclass(frozen=True)
class RawSplit:
    """Columns as a source gave them, before labels became classes."""

    texts: list[Any]
    pairs: list[Any] | None
    labels: list[Any]
    place: str


TASKS: Registry[Callable[[Progress], Task]] = Registry("data set")
"""Data sets that can be had by a short name."""


def raw_split(columns: dict[str, list[Any]], place: str) -> RawSplit:
    """Check that the columns are there and hold something; `place` names the file in errors."""
    for name in COLUMNS:
        if name not in columns:
            found = ", ".join(columns) or "none"
            raise UserError(f"{place} has no column {name!r} (it has: {found}): the columns must be text and label.")
    if not columns["text"]:
        raise UserError(f"{place} is empty: it needs at least a few texts of every class.")
    for name in ("text", "text_pair"):
        for number, value in enumerate(columns.get(name, [])):
            if not isinstance(value, str):
                raise UserError(f"{place}, row {number + 1}, column {name!r} holds {value!r} where a text should be.")
    return RawSplit(columns["text"], columns.get("text_pair"), columns["label"], place)


def _plain_label(value: Any, place: str, number: int) -> int | str:
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or value == "" or value != value:
        raise UserError(f"{place}, row {number + 1}, column 'label' is empty: give every row a class, or drop the row.")
    if isinstance(value, float):
        if not value.is_integer():
            raise UserError(
                f"{place}, row {number + 1}, column 'label' is {value!r}: only classes can be learnt so far, "
                "not numbers on a scale; turn the scale into classes."
            )
        return int(value)
    if not isinstance(value, int | str):
        raise UserError(f"{place}, row {number + 1}, column 'label' is {value!r}: a class is a name or a whole number.")
    return value


def _classes(raws: Iterable[RawSplit]) -> tuple[list[list[int | str]], list[int | str]]:
    labels = [[_plain_label(value, raw.place, n) for n, value in enumerate(raw.labels)] for raw in raws]
    found = {value for split in labels for value in split}
    ordered = sorted(found, key=lambda value: (isinstance(value, str), value))
    return labels, ordered


def _split(rows: Sequence[Row]) -> Split:
    pairs = tuple(row.pair for row in rows if row.pair is not None)
    return Split(tuple(row.text for row in rows), pairs or None, tuple(row.label for row in rows))


def make_task(
    raws: dict[str, RawSplit],
    *,
    name: str,
    source: str,
    licence: str,
    label_names: Sequence[str] | None = None,
    divide: Callable[[dict[str, tuple[Row, ...]], str], Splits] = split_given,
) -> Task:
    """Classes, deduplication and splits from raw columns; `label_names` names the classes where the source does.

    Raises `UserError` for missing labels, labels on a scale, a single class, or splits that come out empty.
    """
    labels, classes = _classes(raws.values())
    place = next(iter(raws.values())).place if len(raws) == 1 else source
    if len(classes) < 2:
        raise UserError(f"{place}, column 'label' has one class only ({classes[0]!r}): at least two are needed.")
    with_pairs = {raw.pairs is not None for raw in raws.values()}
    if len(with_pairs) > 1:
        raise UserError(f"{source} has the column 'text_pair' in some of its files only: all or none must have it.")
    index = {value: number for number, value in enumerate(classes)}
    rows = {
        split: tuple(
            Row(text, pair, index[label])
            for text, pair, label in zip(raw.texts, raw.pairs or [None] * len(raw.texts), values, strict=True)
        )
        for (split, raw), values in zip(raws.items(), labels, strict=True)
    }
    train, validation, test = (_split(part) for part in divide(rows, source))
    for part, split in (("train", train), ("validation", validation), ("test", test)):
        if not len(split):
            raise UserError(f"{source} has too few different texts: nothing is left for the {part} split.")
    if len(set(train.labels)) < 2:
        raise UserError(f"{place}, column 'label' has one class only in the train split: at least two are needed.")
    named = label_names is not None and all(
        isinstance(value, int) and 0 <= value < len(label_names) for value in classes
    )
    names = tuple(label_names[int(value)] if named and label_names else str(value) for value in classes)
    parts = [[split.texts, split.pairs, split.labels] for split in (train, validation, test)]
    return Task(name, source, licence, names, train, validation, test, content_hash([names, parts], 16))


def split_file(rows: dict[str, tuple[Row, ...]], place: str) -> Splits:
    """The rule for a source of one file."""
    return split_single(next(iter(rows.values())))
