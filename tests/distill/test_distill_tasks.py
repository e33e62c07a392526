"""Tasks from files of every kind, and one clear sentence for each way in which they can be wrong."""

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from distill.local_data import READERS
from distill.tasks import load_task
from runs.errors import UserError
from runs.progress import Progress

WRITERS: dict[str, Callable[[pd.DataFrame, Path], object]] = {
    ".csv": lambda table, path: table.to_csv(path, index=False),
    ".jsonl": lambda table, path: table.to_json(path, orient="records", lines=True),
    ".parquet": lambda table, path: table.to_parquet(path),
}


def _table(rows: int = 60, pairs: bool = False) -> pd.DataFrame:
    texts = [f'a "quoted", text {i}\nNA' if i % 7 == 0 else f"text {i}" for i in range(rows)]
    columns: dict[str, list[object]] = {"text": list(texts), "label": [("no", "yes")[i % 2] for i in range(rows)]}
    if pairs:
        columns["text_pair"] = [f"pair {i % 5}" for i in range(rows)]
    return pd.DataFrame(columns)


def test_every_format_is_tried() -> None:
    # Plain texts and SQuAD's files are no tables: tests/distill/test_distill_every_kind.py.
    assert set(WRITERS) == set(READERS) - {".txt", ".json"}


@pytest.mark.parametrize("ending", list(WRITERS))
@pytest.mark.parametrize("pairs", [False, True])
def test_all_formats_give_the_same_task(ending: str, pairs: bool, tmp_path: Path, quiet: Progress) -> None:
    WRITERS[ending](_table(pairs=pairs), tmp_path / f"data{ending}")
    _table(pairs=pairs).to_parquet(tmp_path / "same.parquet")
    task, same = (load_task(str(tmp_path / name), quiet) for name in (f"data{ending}", "same.parquet"))
    assert task.content_hash == same.content_hash
    assert task.label_names == ("no", "yes")
    assert (len(task.train), len(task.validation), len(task.test)) == (42, 6, 12)
    assert (task.train.pairs is not None) == pairs


def test_a_text_that_reads_like_a_missing_value_stays_a_text(tmp_path: Path, quiet: Progress) -> None:
    table = pd.DataFrame({"text": ["NA", "null", "nan", *map(str, range(40))], "label": [0, 1] * 21 + [0]})
    table.to_csv(tmp_path / "data.csv", index=False)
    task = load_task(str(tmp_path / "data.csv"), quiet)
    texts = {*task.train.texts, *task.validation.texts, *task.test.texts}
    assert {"NA", "null", "nan", "7"} <= texts
    assert task.label_names == ("0", "1")


def test_whole_numbers_are_sorted_as_numbers(tmp_path: Path, quiet: Progress) -> None:
    pd.DataFrame({"text": [f"t{i}" for i in range(80)], "label": [(2, 10)[i % 2] for i in range(80)]}).to_csv(
        tmp_path / "d.csv", index=False
    )
    assert load_task(str(tmp_path / "d.csv"), quiet).label_names == ("2", "10")


def test_a_folder_of_given_splits(tmp_path: Path, quiet: Progress) -> None:
    table = _table(90)
    table[:60].to_csv(tmp_path / "train.csv", index=False)
    table[50:80].to_json(tmp_path / "dev.jsonl", orient="records", lines=True)
    table[70:].to_parquet(tmp_path / "test.parquet")
    task = load_task(str(tmp_path), quiet)
    assert (len(task.train), len(task.validation), len(task.test)) == (50, 20, 20)
    assert not set(task.train.texts) & {*task.validation.texts, *task.test.texts}


def test_the_hash_changes_with_a_label(tmp_path: Path, quiet: Progress) -> None:
    table = _table()
    table.to_csv(tmp_path / "one.csv", index=False)
    table.loc[3, "label"] = "no"
    table.to_csv(tmp_path / "two.csv", index=False)
    one, two = (load_task(str(tmp_path / f"{name}.csv"), quiet) for name in ("one", "two"))
    assert one.content_hash != two.content_hash


def _write(text: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        (folder / "data.csv").write_text(text)
        return folder / "data.csv"

    return write


def _renamed(ending: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        (folder / f"data{ending}").write_text("not a table at all {")
        return folder / f"data{ending}"

    return write


MANY = "\n".join(f"text {i},{i % 2}" for i in range(40))

BAD = {
    "missing file": (lambda folder: folder / "data.csv", "data.csv does not exist"),
    "empty file": (_write(""), "data.csv is empty"),
    "header alone": (_write("text,label\n"), "data.csv is empty"),
    "no text column": (_write("sentence,label\na,1\n"), "data.csv has no column 'text'"),
    "no label column": (_write("text,class\na,1\n"), "data.csv has no column 'label'"),
    "one class": (_write("text,label\na,1\nb,1\n"), "data.csv, column 'label' has one class only"),
    "label missing": (_write(f"text,label\n{MANY}\nlast,\n"), "data.csv, row 41, column 'label' is empty"),
    "label nan": (_write(f"text,label\n{MANY}\nlast,NaN\n"), "data.csv, row 41, column 'label' is empty"),
    "too few texts": (_write("text,label\na,1\nb,0\n"), "too few different texts"),
    "unknown ending": (_renamed(".xlsx"), "data.xlsx is of a kind that cannot be read"),
    "broken jsonl": (_renamed(".jsonl"), "data.jsonl cannot be read as JSONL"),
    "broken parquet": (_renamed(".parquet"), "data.parquet cannot be read as PARQUET"),
    "folder without splits": (lambda folder: folder, "holds no train, validation or test file"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_sentence(name: str, tmp_path: Path, quiet: Progress) -> None:
    make, message = BAD[name]
    source = make(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError) as caught:
        load_task(str(source), quiet)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_text_that_is_no_text_is_named(tmp_path: Path, quiet: Progress) -> None:
    lines = [{"text": "a", "label": 0}, {"text": 5, "label": 1}]
    (tmp_path / "d.jsonl").write_text("\n".join(map(json.dumps, lines)))
    with pytest.raises(UserError, match=r"d.jsonl, row 2, column 'text' holds 5"):
        load_task(str(tmp_path / "d.jsonl"), quiet)


def test_a_pair_column_in_one_file_only_is_refused(tmp_path: Path, quiet: Progress) -> None:
    _table(pairs=True).to_csv(tmp_path / "train.csv", index=False)
    _table().to_csv(tmp_path / "test.csv", index=False)
    with pytest.raises(UserError, match="'text_pair' in some of its files only"):
        load_task(str(tmp_path), quiet)
