"""What a source's labels mean: classes, numbers, a tag a word, answers in a text, or nothing but the text itself."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from distill.cells import is_missing, is_text, plain, shown
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

LARGEST = float(np.finfo(np.float32).max)
"""Of a number that a model can be taught."""

LABELLINGS: Registry[Labelling] = Registry("task kind")
"""Kind → a function of (splits as the source gave them, names of classes where it says them)."""


def _class(value: Any, place: str, number: int) -> int | str:
    value = plain(value)
    if is_missing(value):
        raise UserError(f"{place}, row {number + 1}, column 'label' is empty: give every row a class, or drop the row.")
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if not (isinstance(value, int) or is_text(value)):
        said = f"{place}, row {number + 1}, column 'label' is {shown(value)}"
        raise UserError(f"{said}: a class is a name or a whole number.")
    label: int | str = value
    return label


def _named(found: list[int | str], names: Sequence[str] | None, place: str, what: str) -> tuple[str, ...]:
    """The names of classes or tags: those that a source has for its numbers, or themselves as text."""
    given = names and all(isinstance(one, int) and 0 <= one < len(names) for one in found)
    said = [names[int(one)] if names and given else str(one) for one in found]
    for one in said:
        if said.count(one) > 1:
            raise UserError(
                f"{place} has the {what} {shown(one)} twice, as a number and as a text: write it in one way."
            )
    return tuple(said)


@LABELLINGS.register("classification")
def classes(raws: Mapping[str, RawSplit], names: Sequence[str] | None) -> Labelled:
    """Whole numbers or names become places in the sorted list of all; at least two, and all of them in train."""
    values = {split: [_class(value, raw.place, n) for n, value in enumerate(raw.labels)] for split, raw in raws.items()}
    found = sorted({one for split in values.values() for one in split}, key=lambda one: (isinstance(one, str), one))
    place = next(iter(raws.values())).place
    if len(found) < 2:
        raise UserError(f"{place}, column 'label' has one class only ({shown(found[0])}): at least two are needed.")
    for split, mine in values.items():
        if "train" in values and (unknown := set(mine) - set(values["train"])):
            raise UserError(
                f"{raws[split].place} has the class {shown(min(unknown, key=str))}, which {raws['train'].place} lacks: "
                "a student learns from the train split, so every class must be there."
            )
    index = {value: number for number, value in enumerate(found)}
    said = _named(found, names, place, "class")
    return Labelled({split: [index[value] for value in mine] for split, mine in values.items()}, said)


FARTHEST = 1e4
"""So many times their spread labels may be away from 0: answers in single precision err by a thousandth of it then."""


@LABELLINGS.register("regression")
def numbers(raws: Mapping[str, RawSplit], names: Sequence[str] | None) -> Labelled:
    """A number a row, not the same in all rows of train."""

    def number(value: Any, place: str, row: int) -> float:
        value = plain(value)
        if isinstance(value, bool) or not isinstance(value, int | float) or not -LARGEST <= value <= LARGEST:
            said = f"{place}, row {row + 1}, column 'label' is {shown(value)}"
            raise UserError(f"{said}: it must be a number, and not too large a one, in every row.")
        return float(value)

    found = {split: [number(v, raw.place, n) for n, v in enumerate(raw.labels)] for split, raw in raws.items()}
    first = next(iter(raws))
    if len(set(found[first])) < 2:
        raise UserError(
            f"{raws[first].place}, column 'label' is {found[first][0]:g} in every row: nothing can be learnt."
        )
    middle, spread = float(np.mean(found[first])), float(np.std(found[first]))
    if abs(middle) > FARTHEST * spread:
        raise UserError(
            f"{raws[first].place}, column 'label' lies around {middle:g} and differs by {spread:.2g} only, which the "
            f"seven digits of a model's answers do not tell: subtract {middle:g} from every label."
        )
    return Labelled(found)


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
            if any(is_missing(tag) or not (isinstance(tag, int) or is_text(tag)) for tag in mine):
                raise UserError(
                    f"{raw.place}, row {number + 1} has a tag that is no name and no whole number: {shown(mine)}."
                )
            given[split].append(mine)
    found = {tag for rows in given.values() for row in rows for tag in row}
    ordered = sorted(found, key=lambda tag: (tag != OUTSIDE, isinstance(tag, str), tag))
    place = next(iter(raws.values())).place
    if len(ordered) < 2:
        raise UserError(f"{place} has one tag only ({shown(ordered[0])}): at least two are needed.")
    index = {tag: number for number, tag in enumerate(ordered)}
    said = _named(ordered, names, place, "tag")
    return Labelled({split: [tuple(index[tag] for tag in row) for row in rows] for split, rows in given.items()}, said)


@LABELLINGS.register("spans")
def answers(raws: Mapping[str, RawSplit], names: Sequence[str] | None) -> Labelled:
    """What people answered to each question, as (first character in the pair's text, text); none for none."""
    found: Labels = {}
    for split, raw in raws.items():
        found[split] = []
        for number, (context, row) in enumerate(zip(raw.pairs or [], raw.labels, strict=True)):
            mine = tuple((start, text) for start, text in row)
            for start, text in mine:
                if context[start : start + len(text)] != text:
                    raise UserError(
                        f"{raw.place}, question {number + 1}: its answer {shown(text)} does not stand at character "
                        f"{start} of its text."
                    )
            found[split].append(mine)
    first = next(iter(raws))
    if not any(found[first]):
        raise UserError(f"{raws[first].place} has no question with an answer: nothing can be learnt from it.")
    return Labelled(found)


def _texts_alone(raws: Mapping[str, RawSplit], names: Sequence[str] | None) -> Labelled:
    """Nothing but texts: what is asked is one of their own words."""
    return Labelled({split: [0] * len(raw.texts) for split, raw in raws.items()})


LABELLINGS.register("masked-lm")(_texts_alone)
LABELLINGS.register("causal-lm")(_texts_alone)
