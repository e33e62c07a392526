"""What a source's labels mean: classes, numbers, a tag a word, answers in a text, or nothing but the text itself."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np

from runs.errors import UserError
from runs.registry import Registry

Labels = dict[str, list[Any]]
"""By split, a label a row."""


@dataclass(frozen=True)
class RawSplit:
    """Columns as a source gave them, before labels became classes or numbers.

    `labels` holds a value a row, for tags a sequence of them, for answers `(first character, text)` pairs. Rows of one
    of the `groups` (an article, say) stay together when a source is split; `place` names the file in errors.
    """

    texts: list[Any]
    pairs: list[Any] | None
    labels: list[Any]
    place: str
    kind: str = "classification"
    groups: list[str] | None = None


@dataclass(frozen=True)
class Labelled:
    """Labels of every split as a task keeps them, and the names of classes or tags, where there are such."""

    labels: Labels
    names: tuple[str, ...] = ()


Labelling = Callable[[Mapping[str, RawSplit], Sequence[str] | None], Labelled]

LABELLINGS: Registry[Labelling] = Registry("task kind")
"""Kind → a function of (splits as the source gave them, names of classes where it says them)."""


def plain(value: Any) -> Any:
    """A value without NumPy around it."""
    return value.item() if isinstance(value, np.generic) else value


def is_missing(value: Any) -> bool:
    """Whether a label is not there: None, an empty text, or no number."""
    return value is None or (isinstance(value, str) and not value) or bool(value != value)


def _class(value: Any, place: str, number: int) -> int | str:
    value = plain(value)
    if is_missing(value):
        raise UserError(f"{place}, row {number + 1}, column 'label' is empty: give every row a class, or drop the row.")
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if not isinstance(value, int | str):
        raise UserError(f"{place}, row {number + 1}, column 'label' is {value!r}: a class is a name or a whole number.")
    return value


@LABELLINGS.register("classification")
def classes(raws: Mapping[str, RawSplit], names: Sequence[str] | None) -> Labelled:
    """Whole numbers or names become places in the sorted list of all; at least two, and all of them in train."""
    values = {split: [_class(value, raw.place, n) for n, value in enumerate(raw.labels)] for split, raw in raws.items()}
    found = sorted({one for split in values.values() for one in split}, key=lambda one: (isinstance(one, str), one))
    place = next(iter(raws.values())).place
    if len(found) < 2:
        raise UserError(f"{place}, column 'label' has one class only ({found[0]!r}): at least two are needed.")
    for split, mine in values.items():
        if "train" in values and (unknown := set(mine) - set(values["train"])):
            raise UserError(
                f"{raws[split].place} has the class {min(unknown, key=str)!r}, which {raws['train'].place} lacks: a "
                "student learns from the train split, so every class must be there."
            )
    index = {value: number for number, value in enumerate(found)}
    named = names is not None and all(isinstance(one, int) and 0 <= one < len(names) for one in found)
    said = tuple(names[int(one)] if named and names else str(one) for one in found)
    return Labelled({split: [index[value] for value in mine] for split, mine in values.items()}, said)


@LABELLINGS.register("regression")
def numbers(raws: Mapping[str, RawSplit], names: Sequence[str] | None) -> Labelled:
    """A number a row."""

    def number(value: Any, place: str, row: int) -> float:
        value = plain(value)
        if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
            raise UserError(f"{place}, row {row + 1}, column 'label' is {value!r}: it must be a number in every row.")
        return float(value)

    return Labelled({split: [number(v, raw.place, n) for n, v in enumerate(raw.labels)] for split, raw in raws.items()})


OUTSIDE = "O"
"""The tag of a word that belongs to nothing; the first of the names where it is one."""


@LABELLINGS.register("tokens")
def tags(raws: Mapping[str, RawSplit], names: Sequence[str] | None) -> Labelled:
    """A tag a word, each row's a tuple of places in the sorted list of all tags; tags that only test has count too."""
    given: dict[str, list[list[Any]]] = {}
    for split, raw in raws.items():
        given[split] = []
        for number, (text, row) in enumerate(zip(raw.texts, raw.labels, strict=True)):
            mine = [plain(tag) for tag in row]
            words = len(text.split(" "))
            if len(mine) != words:
                raise UserError(f"{raw.place}, row {number + 1} has {words} words and {len(mine)} tags: one for each.")
            if any(is_missing(tag) or not isinstance(tag, int | str) for tag in mine):
                raise UserError(
                    f"{raw.place}, row {number + 1} has a tag that is no name and no whole number: {mine!r}."
                )
            given[split].append(mine)
    found = {tag for rows in given.values() for row in rows for tag in row}
    ordered = sorted(found, key=lambda tag: (tag != OUTSIDE, isinstance(tag, str), tag))
    if len(ordered) < 2:
        place = next(iter(raws.values())).place
        raise UserError(f"{place} has one tag only ({ordered[0]!r}): at least two are needed.")
    index = {tag: number for number, tag in enumerate(ordered)}
    named = names is not None and all(isinstance(tag, int) and 0 <= tag < len(names) for tag in ordered)
    said = tuple(names[int(tag)] if named and names else str(tag) for tag in ordered)
    return Labelled({split: [tuple(index[tag] for tag in row) for row in rows] for split, rows in given.items()}, said)


@LABELLINGS.register("spans")
def answers(raws: Mapping[str, RawSplit], names: Sequence[str] | None) -> Labelled:
    """What people answered to each question, as (first character in the pair's text, text); none for none."""
    found: Labels = {}
    for split, raw in raws.items():
        found[split] = []
        for number, (context, row) in enumerate(zip(raw.pairs or [], raw.labels, strict=True)):
            mine = tuple((int(start), str(text)) for start, text in row)
            for start, text in mine:
                if context[start : start + len(text)] != text:
                    raise UserError(
                        f"{raw.place}, question {number + 1}: its answer {text!r} does not stand at character {start} "
                        "of its text."
                    )
            found[split].append(mine)
    return Labelled(found)


def _texts_alone(raws: Mapping[str, RawSplit], names: Sequence[str] | None) -> Labelled:
    """Nothing but texts: what is asked is one of their own words."""
    return Labelled({split: [0] * len(raw.texts) for split, raw in raws.items()})


LABELLINGS.register("masked-lm")(_texts_alone)
LABELLINGS.register("causal-lm")(_texts_alone)
