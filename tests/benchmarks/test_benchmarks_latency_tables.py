"""Public latency tables: bad cells are named, rows held out are never learnt from, and a small folder runs through."""

import csv
import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPTS = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(SCRIPTS))

import latency_tables  # noqa: E402  scripts beside each other import one another by name
from latency_tables_page import page_text  # noqa: E402
from regressors import REGRESSORS, single_column  # noqa: E402

from runs.errors import UserError  # noqa: E402


def write_table(path: Path, rows: int, slower: float = 1.0) -> Path:
    rng = np.random.default_rng(1)
    layers, width = rng.integers(1, 12, rows), rng.integers(4, 40, rows) * 16
    latency = slower * (0.5 + layers * width**2 * 1e-5) * np.exp(0.02 * rng.standard_normal(rows))
    with path.open("w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["layers", "width", "latency_ms"])
        writer.writerows(zip(layers, width, latency, strict=True))
    return path


BAD = {
    "text": ("3,wide,5.0", "line 5: column width holds 'wide', which is not a number"),
    "nan": ("3,64,nan", "line 5: column latency_ms holds nan"),
    "infinite": ("inf,64,5.0", "line 5: column layers holds inf"),
    "negative": ("3,-64,5.0", "line 5: column width holds -64"),
    "zero latency": ("3,64,0", "line 5: column latency_ms holds 0"),
    "missing latency": ("3,64,", "line 5: column latency_ms is empty"),
    "short": ("3,64", "line 5: column latency_ms is empty"),
    "long": ("3,64,5.0,7", "line 5 has 4 cells under 3 columns"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_cell_is_named(tmp_path: Path, kind: str) -> None:
    row, words = BAD[kind]
    path = write_table(tmp_path / "bad.csv", 40)
    lines = path.read_text().splitlines()
    lines[4] = row
    path.write_text("\n".join(lines))
    with pytest.raises(UserError, match=words):
        latency_tables.read_table(path)


@pytest.mark.parametrize(("text", "words"), [("", "needs one column"), ("a,b\n1,2\n", "needs one column")])
def test_a_file_without_latencies_is_refused(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "none.csv").write_text(text)
    with pytest.raises(UserError, match=words):
        latency_tables.read_table(tmp_path / "none.csv")


def test_the_command_says_one_sentence_and_ends_with_2(tmp_path: Path) -> None:
    path = write_table(tmp_path / "bad.csv", 40)
    path.write_text(path.read_text() + "3,wide,1\n")
    done = subprocess.run(
        [sys.executable, SCRIPTS / "latency_tables.py", tmp_path, "--output", tmp_path / "out"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "line 42: column width" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("rows", [40, 300])
def test_rows_held_out_are_never_learnt_from(tmp_path: Path, rows: int) -> None:
    table = latency_tables.read_table(write_table(tmp_path / "table.csv", rows))
    for size in latency_tables.sizes(table):
        parts = list(latency_tables.splits(table, size, seed=0))
        assert all(not set(learnt) & set(asked) for learnt, asked in parts)
        if size == latency_tables.TEN_FOLD:
            assert sorted(row for _, asked in parts for row in asked) == list(range(rows))
        else:
            assert [(len(learnt), len(asked)) for learnt, asked in parts] == [(size, 200)]
    assert latency_tables.sizes(table) == ((0,) if rows == 40 else (50, 100))


@pytest.mark.parametrize("name", REGRESSORS.names())
def test_every_regressor_learns_a_table(tmp_path: Path, name: str) -> None:
    table = latency_tables.read_table(write_table(tmp_path / "table.csv", 150))
    predicted = REGRESSORS[name](table.features[:100], table.latency_ms[:100], table.features[100:])
    assert predicted.shape == (50,) and np.corrcoef(predicted, table.latency_ms[100:])[0, 1] > 0.85


def test_drift_shows_once_rows_are_numbered(tmp_path: Path) -> None:
    table = latency_tables.read_table(write_table(tmp_path / "table.csv", 120))
    drifting = dataclasses.replace(table, latency_ms=table.latency_ms * np.linspace(1, 2, 120))
    plain, told = (latency_tables.tried(drifting, name, 0, 0) for name in (latency_tables.OURS, latency_tables.TOLD))
    assert told["mape_percent"] < 0.5 * plain["mape_percent"]


def test_a_single_column_is_a_line_through_it() -> None:
    features = np.array([[9.0, 1.0], [2.0, 2.0], [5.0, 3.0]])
    asked = np.array([[0.0, 10.0]])
    assert single_column(1)(features, 1 + 2 * features[:, 1], asked) == pytest.approx([21.0])


def test_a_folder_runs_through_and_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, slower in (("maker_fast", 1.0), ("maker_slow", 5.0)):
        write_table(tmp_path / f"{name}.csv", 40, slower)
    for constant, value in {"SAMPLES": (5,), "DRAWS": 1, "FOLDS": 3}.items():
        monkeypatch.setattr(latency_tables, constant, value)
    output, page = tmp_path / "out", tmp_path / "page.md"
    latency_tables.main(tmp_path, seeds=1, output=output, page=page)
    result = json.loads((output / latency_tables.RESULT).read_text())
    assert len(result["fits"]) == 2 * (len(REGRESSORS.names()) + 1) and len(result["moves"]) == 2
    first = page.read_text()
    assert "maker: MAPE in %, mean of 2 tables" in first and "maker_fast → maker_slow" in first

    def never(*_: object) -> None:
        raise AssertionError("fitted again")

    monkeypatch.setattr(latency_tables, "tried", never)
    monkeypatch.setattr(latency_tables, "adapted", never)
    latency_tables.main(tmp_path, seeds=1, output=output, page=page)
    assert page.read_text() == first == page_text(result)
    (output / latency_tables.NOTES).write_text("## What we think\n\nMuch.\n")
    latency_tables.main(tmp_path, seeds=1, output=output, page=page)
    assert page.read_text() == first + "\n## What we think\n\nMuch.\n"


def test_the_page_in_the_repository_says_what_is_stored() -> None:
    folder = SCRIPTS / "results" / "latency_tables"
    result = json.loads((folder / latency_tables.RESULT).read_text())
    page = SCRIPTS.parent / "docs" / "benchmarks" / "latency_tables.md"
    notes = (folder / latency_tables.NOTES).read_text()
    assert page.read_text() == page_text(result, notes) and page.read_text().endswith(notes)
