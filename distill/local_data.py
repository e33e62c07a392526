"""Tasks from CSV, JSONL, Parquet, SQuAD and plain text files."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from distill.columns import LOCAL_FORMS, raw_split
from distill.examples import Task, make_task, split_file
from distill.labelling import RawSplit
from distill.splits import split_given
from runs.errors import UserError
from runs.registry import Registry

SPLIT_NAMES = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test",),
}

READERS: Registry[Callable[[Path], pd.DataFrame]] = Registry("file format")
"""File extension → reader of a table."""


@READERS.register(".csv")
def _read_csv(path: Path) -> pd.DataFrame:
    # Words such as "NA" or "null" are texts like any other; only an empty label is a missing one.
    return pd.read_csv(
        path, dtype={"text": str, "text_pair": str}, keep_default_na=False, na_values={"label": ["", "nan", "NaN"]}
    )


@READERS.register(".jsonl")
def _read_jsonl(path: Path) -> pd.DataFrame:
    return pd.read_json(path, lines=True, dtype=False, encoding="utf-8")


@READERS.register(".parquet")
def _read_parquet(path: Path) -> pd.DataFrame:
    return pd.read_parquet(path)


@READERS.register(".txt")
def _read_text(path: Path) -> pd.DataFrame:
    """One text a line; empty lines are none."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return pd.DataFrame({"text": [line for line in lines if line.strip()]})


@READERS.register(".json")
def _read_squad(path: Path) -> pd.DataFrame:
    """Articles of paragraphs of questions, as SQuAD's files have them."""
    content = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict) or not isinstance(content.get("data"), list):
        raise ValueError("it has no list of articles under the key data, as SQuAD's files have")
    rows = []
    try:
        for number, article in enumerate(content["data"]):
            for paragraph in article["paragraphs"]:
                for asked in paragraph["qas"]:
                    said = {
                        "text": [answer["text"] for answer in asked["answers"]],
                        "answer_start": [answer["answer_start"] for answer in asked["answers"]],
                    }
                    title = str(article.get("title") or number)
                    rows.append((asked["question"], paragraph["context"], said, title))
    except (KeyError, TypeError) as problem:
        raise ValueError(f"article {number + 1} is not as SQuAD's are: {problem!r}") from None
    return pd.DataFrame(rows, columns=["question", "context", "answers", "title"])


BROKEN = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError, OSError)
"""What readers raise for a file that is damaged or of another kind."""


def looks_local(source: str) -> bool:
    """Whether `source` can only be meant as a path: it ends like a data file or starts like a path."""
    return Path(source).suffix.lower() in READERS or source.startswith((".", "/", "~", "\\"))


def read_columns(path: Path, forms: str = LOCAL_FORMS) -> dict[str, list[Any]]:
    """The columns of a file by name; a `UserError` names a file that is missing, empty, unknown or broken, and says
    which `forms` of data to give."""
    if path.is_dir():
        raise UserError(f"{path} is a folder where one file is wanted: name a file in it.")
    if not path.is_file():
        raise UserError(f"the data file {path} does not exist: give {forms}.")
    if path.suffix.lower() not in READERS:
        raise UserError(f"{path} is of a kind that cannot be read: give {forms}.")
    if not path.stat().st_size:
        raise UserError(f"{path} is empty: give {forms}.")
    try:
        table = READERS[path.suffix.lower()](path)
    except BROKEN as problem:
        reason = (str(problem).strip().splitlines() or [type(problem).__name__])[0].rstrip(".")[:200]
        raise UserError(f"{path} cannot be read as {path.suffix[1:].upper()} ({reason}): give {forms}.") from None
    return {str(name): table[name].tolist() for name in table.columns}


def _folder_files(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        for split, names in SPLIT_NAMES.items():
            if path.is_file() and path.suffix.lower() in READERS and path.stem.lower() in names:
                if split in found:
                    raise UserError(f"{folder} has two {split} files, {found[split].name} and {path.name}: keep one.")
                found[split] = path
    if not found:
        raise UserError(f"{folder} holds no train, validation or test file: give {LOCAL_FORMS}.")
    return {split: found[split] for split in SPLIT_NAMES if split in found}


def load_local(path: Path, kind: str | None = None) -> Task:
    """A file, split 70/10/20 by content, or a folder of given splits. The licence is the owner's affair.

    The kind of task is told from the columns where it is not given.
    """
    files = _folder_files(path) if path.is_dir() else {"train": path}
    raws: dict[str, RawSplit] = {split: raw_split(read_columns(file), str(file), kind) for split, file in files.items()}
    divide = split_given if path.is_dir() else split_file
    name = path.resolve().stem if path.is_file() else path.resolve().name
    return make_task(raws, name=name, source=str(path), licence="as given by the owner of the data", divide=divide)
