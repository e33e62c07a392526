"""Odd cells in any column give a task or one sentence, never anything else."""

import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from distill.cells import is_missing
from distill.columns import raw_split
from distill.examples import Task, make_task, split_file
from distill.kinds import KINDS
from distill.local_data import READERS, load_local
from runs.errors import UserError

ODD: list[Any] = [
    None, "", " ", "a", "nan", 0, 1, -1, 2.5, 1.0, 1e300, 10**30, 10**400, True, float("nan"), float("inf"), pd.NA,
    pd.NaT, b"bytes", np.array([1, 2]), np.array(["x", "y"]), np.array([]), np.float32("nan"), np.int64(3), [], [1],
    ["a", "b"], [["a"]], ("a", None), {}, {"text": 1}, {"text": ["a"], "answer_start": [0]},
    {"text": ["a"], "answer_start": [0, 1]}, {"text": [None], "answer_start": ["0"]}, {"text": "a", "answer_start": 0},
    {"text": np.array(["a"]), "answer_start": np.array([-1])}, datetime.date(2020, 1, 1), pd.Timestamp(0), Decimal("1"),
    "\ud800", "a b", "a\x00b", "é" * 1000, object(), 1j, {"a"},
]  # fmt: skip
COLUMNS = {
    "classification": ("text", "label", "text_pair"),
    "regression": ("text", "label"),
    "tokens": ("tokens", "tags"),
    "spans": ("question", "context", "answers", "title"),
    "masked-lm": ("text",),
    "causal-lm": ("text",),
}


def sound(column: str, row: int, kind: str) -> Any:
    """A cell as it should be."""
    if column == "label":
        return row % 2 if kind == "classification" else row / 3
    cells = {
        "tokens": ["word", f"w{row}"],
        "tags": ["O", "x"],
        "answers": {"text": ["a"], "answer_start": [0]},
    }
    return cells.get(column, f"a {column} {row}")


def made(columns: dict[str, list[Any]], kind: str | None) -> Task:
    return make_task({"train": raw_split(columns, "d", kind)}, name="d", source="d", licence="", divide=split_file)


@pytest.mark.parametrize("kind", KINDS.names())
def test_odd_cells_are_told_in_a_sentence_or_make_a_task(kind: str) -> None:
    rng = np.random.default_rng(0)
    told, rows = set(), 30
    for trial in range(300):
        columns = {name: [sound(name, row, kind) for row in range(rows)] for name in COLUMNS[kind]}
        for _ in range(int(rng.integers(1, 4))):
            name = str(rng.choice(COLUMNS[kind]))
            odd = ODD[int(rng.integers(len(ODD)))]
            places = range(rows) if rng.random() < 0.2 else [int(rng.integers(rows))]
            for place in places:
                columns[name][place] = odd
        try:
            task = made(columns, kind if trial % 2 or kind.endswith("-lm") else None)
        except UserError as problem:
            told.add(str(problem))
            assert str(problem).endswith(".") and "\n" not in str(problem) and len(str(problem)) < 400
        else:
            assert len(task.train) and task.content_hash
    assert len(told) > 5


@pytest.mark.parametrize("value", [None, "", " ", float("nan"), np.float32("nan"), pd.NA, pd.NaT, Decimal("nan")])
def test_what_is_missing(value: Any) -> None:
    assert is_missing(value)


@pytest.mark.parametrize("value", [0, "0", False, [], [None], np.array([np.nan, 1.0]), np.array([]), {}, b""])
def test_what_is_there(value: Any) -> None:
    assert not is_missing(value)


def texts(labels: list[Any]) -> dict[str, list[Any]]:
    return {"text": [f"text {n}" for n in range(len(labels))], "label": labels}


@pytest.mark.parametrize(
    ("labels", "kind", "words"),
    [
        ([1, "1", 2] * 10, None, "has the class '1' twice, as a number and as a text"),
        ([0.5] * 30, None, "column 'label' is 0.5 in every row"),
        ([0.5, float("inf")] * 15, "regression", "row 2, column 'label' is inf"),
        ([0.5, 1e300] * 15, "regression", "not too large"),
        ([0, pd.NA] * 15, None, "row 2, column 'label' is empty"),
        ([0, np.array([1, 2])] * 15, None, "a class is a name or a whole number"),
    ],
)
def test_labels_that_cannot_be_meant(labels: list[Any], kind: str | None, words: str) -> None:
    with pytest.raises(UserError, match=words):
        made(texts(labels), kind)


def test_questions_without_any_answer_teach_nothing() -> None:
    empty: dict[str, list[Any]] = {"text": [], "answer_start": []}
    columns = {"question": ["q"] * 30, "context": [f"c {n}" for n in range(30)], "answers": [empty] * 30}
    with pytest.raises(UserError, match="has no question with an answer"):
        made(columns, None)


PIECES = [
    '{"text": "a", "label": 1}', "[1, 2]", "5", "null", "{}", '{"text": {"a": 1}, "label": [1]}', '{"text": "a"',
    "\x00",
    '{"text": "\\ud800", "label": 1}', '{"text": 1e400, "label": 99999999999999999999999}', "", "text,label", "a,b,c",
    '"unclosed', "é", "\ufeff", '{"data": [{"paragraphs": 5}]}', '{"data": [[]]}', '{"data": {}}', "[", "{" * 2000,
    '{"data": [{"paragraphs": [{"context": 5, "qas": [{"question": null, "answers": []}]}]}]}', "[" * 100_000,
]  # fmt: skip


@pytest.mark.parametrize("ending", READERS.names())
def test_odd_files_are_told_in_a_sentence_or_make_a_task(ending: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    path, told = tmp_path / f"data{ending}", set()
    for _ in range(150):
        lines = [PIECES[int(rng.integers(len(PIECES)))] for _ in range(int(rng.integers(1, 5)))]
        noise = rng.integers(256, size=20, dtype=np.uint8).tobytes() if rng.random() < 0.2 else b""
        path.write_bytes("\n".join(lines).encode() * int(rng.integers(1, 20)) + noise)
        try:
            assert len(load_local(path, str(rng.choice(list(COLUMNS))) if rng.random() < 0.5 else None).train)
        except UserError as problem:
            told.add(str(problem))
            assert str(problem).endswith(".") and "\n" not in str(problem) and len(str(problem)) < 1000
    assert told
