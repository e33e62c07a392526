"""Tasks as data: texts, labels and splits, and how a source's raw columns become a checked task."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from distill.cells import shown
from distill.kinds import KINDS
from distill.labelling import LABELLINGS, RawSplit
from distill.splits import Row, Splits, split_given, split_single
from runs.errors import UserError
from runs.files import content_hash
from runs.progress import Progress
from runs.registry import Registry
from students.heads import HeadKind


@dataclass(frozen=True)
class Split:
    """Examples of one split; `pairs` is None unless every example has a second text.

    Labels are, by the task's kind: the place of a class among the label names; a number; a place for each of the text's
    words (single spaces part them); answers as (first character in the pair, text); 0 where there is nothing but text.
    """

    texts: tuple[str, ...]
    pairs: tuple[str, ...] | None
    labels: tuple[Any, ...]

    def __len__(self) -> int:
        return len(self.texts)

    def given(self) -> list[str | tuple[str, str]]:
        """Each example's text, or pair of texts."""
        return list(self.texts) if self.pairs is None else list(zip(self.texts, self.pairs, strict=True))


@dataclass(frozen=True)
class Task:
    """What is to be learnt. `content_hash` changes with any text, label or split, and with nothing else."""

    name: str
    source: str
    licence: str
    label_names: tuple[str, ...]
    train: Split
    validation: Split
    test: Split
    content_hash: str
    kind: HeadKind = "classification"

    @property
    def metric(self) -> str:
        """Name of the score."""
        return KINDS[self.kind].metric

    @property
    def imbalance(self) -> float | None:
        """How many times as many examples of the train split the most frequent class has as the rarest; None without
        classes."""
        if self.kind != "classification":
            return None
        counts = Counter(self.train.labels).values()
        return max(counts) / min(counts)

    @property
    def balance(self) -> str:
        """How even the classes of the train split are, in words; empty where there are no classes."""
        if self.kind != "classification":
            return ""
        counts = Counter(self.train.labels).most_common()
        (most, often), (least, seldom) = counts[0], counts[-1]
        return (
            f"{len(counts)} classes, from {seldom:,} examples ({self.label_names[least]}) to {often:,} "
            f"({self.label_names[most]})"
        )


TASKS: Registry[Callable[[Progress], Task]] = Registry("data set")
"""Data sets that can be had by a short name."""


def _split(rows: Sequence[Row]) -> Split:
    pairs = tuple(row.pair for row in rows if row.pair is not None)
    return Split(tuple(row.text for row in rows), pairs or None, tuple(row.label for row in rows))


def _one_kind(raws: dict[str, RawSplit], source: str) -> HeadKind:
    kinds = sorted({raw.kind for raw in raws.values()})
    if set(kinds) == {"classification", "regression"}:
        # A split may have whole numbers alone by chance.
        return "regression"
    if len(kinds) > 1:
        raise UserError(f"{source} has files of several kinds of tasks ({', '.join(kinds)}): all must be of one.")
    kind: HeadKind = kinds[0]  # type: ignore[assignment]
    return kind


def make_task(
    raws: dict[str, RawSplit],
    *,
    name: str,
    source: str,
    licence: str,
    label_names: Sequence[str] | None = None,
    divide: Callable[[dict[str, tuple[Row, ...]], str], Splits] = split_given,
) -> Task:
    """Labels, deduplication and splits from raw columns; `label_names` names the classes where the source does.

    Raises `UserError` for missing or unfit labels, a single class, and splits that come out empty.
    """
    kind = _one_kind(raws, source)
    with_pairs = {raw.pairs is not None for raw in raws.values()}
    if len(with_pairs) > 1:
        raise UserError(f"{source} has the column 'text_pair' in some of its files only: all or none must have it.")
    labelled = LABELLINGS[kind](raws, label_names)
    rows = {
        split: tuple(
            Row(text, pair, label, group)
            for text, pair, label, group in zip(
                raw.texts,
                raw.pairs or [None] * len(raw.texts),
                labelled.labels[split],
                raw.groups or [""] * len(raw.texts),
                strict=True,
            )
        )
        for split, raw in raws.items()
    }
    train, validation, test = (_split(part) for part in divide(rows, source))
    for part, split in (("train", train), ("validation", validation), ("test", test)):
        if not len(split):
            raise UserError(f"{source} has too few different texts: nothing is left for the {part} split.")
    if kind == "classification" and len(set(train.labels)) < len(labelled.names):
        lacking = labelled.names[min(set(range(len(labelled.names))) - set(train.labels))]
        raise UserError(
            f"{source}: no example of the class {shown(lacking)} is left in the train split once doubles are dropped "
            "and validation and test are taken: give more of them, or drop the class."
        )
    if kind == "regression" and len(set(train.labels)) < 2:
        raise UserError(
            f"{source}: every label of the train split is {train.labels[0]:g} once doubles are dropped and validation "
            "and test are taken: nothing can be learnt."
        )
    parts = [[split.texts, split.pairs, split.labels] for split in (train, validation, test)]
    content = [labelled.names, parts] if kind == "classification" else [kind, labelled.names, parts]
    return Task(name, source, licence, labelled.names, train, validation, test, content_hash(content, 16), kind)


def split_file(rows: dict[str, tuple[Row, ...]], place: str) -> Splits:
    """The rule for a source of one file."""
    return split_single(next(iter(rows.values())))
