"""Rows of a data set, and the rules that make train, validation and test of them: deduplication, split by content."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from runs.errors import UserError

SHARE = 0.1
"""Validation's share of train where the source has no validation split, and of a single file."""

TEST_SHARE_OF_FILE = 0.2


@dataclass(frozen=True)
class Row:
    """One example: its text, the second text of a pair task, and its label as a task's kind has them.

    Rows of one `group` (an article, say) stay together when a source is split; "" is none.
    """

    text: str
    pair: str | None
    label: Any
    group: str = ""

    @property
    def content(self) -> tuple[str, str | None]:
        """What makes two rows duplicates: the texts, whatever the label says."""
        return self.text, self.pair

    @property
    def stratum(self) -> int:
        """Its class, where it has one."""
        return self.label if isinstance(self.label, int) else 0


def row_hash(row: Row) -> bytes:
    """A hash that depends on the row's group, or else on its texts, not on its place in a file."""
    return hashlib.sha256((row.group or f"{row.text}\x1f{row.pair or ''}").encode()).digest()


def without_duplicates(rows: Iterable[Row], *held_out: Iterable[Row]) -> tuple[Row, ...]:
    """The first of every group of exact duplicates, and none whose texts also stand in a held-out split."""
    seen = {row.content for split in held_out for row in split}
    kept = []
    for row in rows:
        if row.content not in seen:
            seen.add(row.content)
            kept.append(row)
    return tuple(kept)


def _shares(sizes: np.ndarray, share: float) -> np.ndarray:
    """How many of each class to take so that the total is right: largest remainders, earlier classes first."""
    wanted = sizes * share
    taken = np.floor(wanted).astype(int)
    missing = round(float(sizes.sum()) * share) - int(taken.sum())
    taken[np.argsort(taken - wanted, kind="stable")[:missing]] += 1
    return taken


def _whole_groups(groups: list[str], count: int) -> int:
    """The first number from `count` on after which no group goes on; groups stand in a row."""
    while 0 < count < len(groups) and groups[count - 1] and groups[count] == groups[count - 1]:
        count += 1
    return count


def split_off(rows: tuple[Row, ...], share: float) -> tuple[tuple[Row, ...], tuple[Row, ...]]:
    """(taken, rest): `share` of the rows, stratified by class, those whose content hash is lowest within a class.

    A row's side depends on contents alone, so that neither the order of a file nor a seed moves it. Rows keep their
    order, and groups are not divided, so that somewhat more than the share may be taken.
    """
    by_class: dict[int, list[int]] = {}
    for index, row in enumerate(rows):
        by_class.setdefault(row.stratum, []).append(index)
    classes = sorted(by_class)
    taken: set[int] = set()
    for label, count in zip(classes, _shares(np.array([len(by_class[c]) for c in classes]), share), strict=True):
        ordered = sorted(by_class[label], key=lambda index: row_hash(rows[index]))
        taken.update(ordered[: _whole_groups([rows[index].group for index in ordered], count)])
    chosen = tuple(row for index, row in enumerate(rows) if index in taken)
    return chosen, tuple(row for index, row in enumerate(rows) if index not in taken)


Splits = tuple[tuple[Row, ...], tuple[Row, ...], tuple[Row, ...]]


def split_single(rows: Iterable[Row], test_share: float = TEST_SHARE_OF_FILE) -> Splits:
    """(train, validation, test) of one undivided source: 70/10/20 unless another test share is given."""
    unique = without_duplicates(rows)
    test, rest = split_off(unique, test_share)
    validation, train = split_off(rest, SHARE / (1 - test_share))
    return train, validation, test


def split_given(given: dict[str, tuple[Row, ...]], place: str) -> Splits:
    """(train, validation, test) of a source with splits of its own; the missing ones come out of the others.

    A given test split stays as it is; what also stands in a later split is dropped from the earlier one. `place` names
    the source in errors.
    """
    if "train" not in given:
        raise UserError(f"{place} has no train split: name its file train.csv, train.jsonl or train.parquet.")
    if set(given) == {"train"}:
        return split_single(given["train"])
    test = given["test"] if "test" in given else without_duplicates(given["validation"])
    held_out = without_duplicates(given["validation"], test) if {"test", "validation"} <= set(given) else ()
    train = without_duplicates(given["train"], held_out, test)
    if not held_out:
        held_out, train = split_off(train, SHARE)
    return train, held_out, test
