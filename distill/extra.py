"""What a student learns from beside the train split: texts without labels, and texts with some words replaced."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from distill.augmentation import Replacement
from distill.batches import Encoded
from distill.cells import listed
from distill.local_data import read_columns
from runs.errors import UserError
from runs.files import content_hash
from students.headed import UNLABELLED

TRANSFERABLE = ("classification", "regression")
"""Kinds of tasks whose teacher can be asked about any text."""

TEXT_FORMS = "a file with one text a line (.txt), or a CSV, JSONL or Parquet file with a column text"


@dataclass(frozen=True)
class Extra:
    """`texts` that nobody labelled, for the teacher to answer; and copies of all texts with words replaced."""

    texts: tuple[str, ...] = ()
    replacement: Replacement | None = None

    def __bool__(self) -> bool:
        return bool(self.texts) or self.replacement is not None

    @property
    def content_hash(self) -> str:
        """Changes with any text and with how words are replaced."""
        return content_hash(asdict(self), 16)

    def check(self, kind: str, pairs: bool) -> None:
        """Raise `UserError` for a task that cannot use it."""
        if self.texts and (kind not in TRANSFERABLE or pairs):
            raise UserError(
                "--transfer-data is for tasks that ask for a class or a number for each text, without pairs: leave it "
                "away here."
            )
        if self.replacement is not None:
            require_copies(kind)


NOTHING = Extra()


def require_copies(kind: str) -> None:
    """Raise `UserError` for a kind of task whose texts cannot be had in copies."""
    if kind not in TRANSFERABLE:
        raise UserError("--augment is for tasks that ask for a class or a number: leave it away here.")


def read_texts(path: Path) -> tuple[str, ...]:
    """Different texts of a file: one a line (.txt), or the column `text` of a table."""
    columns = read_columns(path, TEXT_FORMS)
    if "text" not in columns:
        raise UserError(f"{path} has no column 'text' (it has: {listed(columns) or 'none'}).")
    texts = [text for text in columns["text"] if isinstance(text, str) and text.strip()]
    if not texts:
        raise UserError(f"{path} has no text: give {TEXT_FORMS}.")
    return tuple(dict.fromkeys(texts))


def unlabelled(kind: str) -> float:
    """The label of a text that has none."""
    return float("nan") if kind == "regression" else UNLABELLED


def joined(parts: Sequence[Encoded]) -> Encoded:
    """Splits in a row."""
    first = parts[0]
    lengths = np.concatenate([part.lengths for part in parts])
    return replace(
        first,
        ids=np.concatenate([part.ids for part in parts]),
        types=np.concatenate([part.types for part in parts]),
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        labels=np.concatenate([part.labels for part in parts]),
    )
