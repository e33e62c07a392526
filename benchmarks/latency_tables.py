"""How well does a regressor learn any table of latencies, and how few rows does it need on a second device?

    python benchmarks/latency_tables.py DIR

DIR holds CSV files: a header, numeric columns ≥ 0, and `latency_ms` last. Every fit's figures are stored as they come;
the same command goes on where it was, and writes the page anew from what is stored.
"""

import csv
import math
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import typer
from latency_tables_page import page_text
from regressors import OURS, REGRESSORS

from predictor.evaluation import errors
from predictor.physics import Matrix, Vector
from predictor.regressor import LatencyRegressor
from runs.errors import UserError
from runs.files import file_sha256, read_json, write_bytes_atomic, write_json_atomic
from runs.progress import Progress

LATENCY = "latency_ms"
NOTES = "notes.md"
"""Beside the result: what people have to say about it, put at the end of the page as it is."""

HELD_OUT = 200
SIZES = (50, 100, 400, 1600)
FOLDS = 10
TEN_FOLD = 0
"""In place of a number of rows: nine tenths of a table are learnt from at a time."""

SAMPLES = (5, 10, 20, 50)
"""Rows of a second device."""

DRAWS = 5
"""Different samples of a second device, over which its figures are averaged: five rows say little by themselves."""

TOLD = "tailorbird, told each row's number"
"""Not a contender: rows stand in the order they were measured, so what their number explains is the machine's drift."""

COVERAGE = 0.9
RESULT = "latency_tables.json"

Rows = npt.NDArray[np.int64]
"""Their numbers in a table."""

Case = dict[str, Any]
"""What is fitted to what: by it a stored figure is found again."""


@dataclass(frozen=True)
class Table:
    """Features [n, f] and latencies [n] of one device."""

    name: str
    columns: tuple[str, ...]
    features: Matrix
    latency_ms: Vector


def _number(path: Path, line: int, column: str, text: str | None) -> float:
    where = f"{path}, line {line}: column {column}"
    if text is None or not text.strip():
        raise UserError(f"{where} is empty: every row needs all its numbers; take the row out or measure it.")
    try:
        value = float(text)
    except ValueError:
        raise UserError(f"{where} holds {text!r}, which is not a number: columns must be numeric.") from None
    if not math.isfinite(value) or value < 0 or (column == LATENCY and value == 0):
        wanted = "positive" if column == LATENCY else "0 or more"
        raise UserError(f"{where} holds {text}: it must be a finite number, {wanted}; take the row out.")
    return value


def read_table(path: Path) -> Table:
    """Read a CSV of numeric columns and `latency_ms`; a `UserError` names the line of whatever is not a number."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as source:
            reader = csv.reader(source)
            header = next(reader, [])
            lines = [(reader.line_num, row) for row in reader if row]
    except (UnicodeDecodeError, csv.Error) as problem:
        raise UserError(f"{path} is not a CSV file in UTF-8: {problem}.") from None
    if header.count(LATENCY) != 1 or len(header) < 2:
        raise UserError(f"{path} needs one column {LATENCY} and at least one more; its header is {','.join(header)!r}.")
    for line, row in lines:
        if len(row) > len(header):
            raise UserError(f"{path}, line {line} has {len(row)} cells under {len(header)} columns: mend the row.")
    if len(lines) < 2 * FOLDS:
        raise UserError(f"{path} has {len(lines)} rows: at least {2 * FOLDS} are needed to learn and to check.")
    rows = [
        [_number(path, line, column, row[at] if at < len(row) else None) for at, column in enumerate(header)]
        for line, row in lines
    ]
    at = header.index(LATENCY)
    values = np.array(rows)
    return Table(path.stem, tuple(header[:at] + header[at + 1 :]), np.delete(values, at, axis=1), values[:, at])


def sizes(table: Table) -> tuple[int, ...]:
    """Numbers of rows to learn from, or `TEN_FOLD` alone where not even the smallest fits."""
    return tuple(size for size in SIZES if size + HELD_OUT <= len(table.latency_ms)) or (TEN_FOLD,)


def splits(table: Table, size: int, seed: int) -> Iterator[tuple[Rows, Rows]]:
    """Rows to learn from and rows held out: `HELD_OUT` of them once, or every row once in `FOLDS` parts."""
    order = np.random.default_rng(seed).permutation(len(table.latency_ms))
    if size != TEN_FOLD:
        yield order[HELD_OUT : HELD_OUT + size], order[:HELD_OUT]
        return
    for fold in range(FOLDS):
        held_out = np.arange(len(order)) % FOLDS == fold
        yield order[~held_out], order[held_out]


def numbered(table: Table) -> Table:
    """The table with two more columns: a row's number from the start and from the end."""
    rows = np.arange(1.0, len(table.latency_ms) + 1)
    features = np.column_stack([table.features, rows, rows[::-1]])
    return replace(table, columns=(*table.columns, "from_start", "from_end"), features=features)


def _ours(fit: Matrix, latency_ms: Vector, asked: Matrix) -> tuple[Vector, Vector, Vector]:
    regressor = LatencyRegressor().fit(fit, latency_ms)
    return (regressor.predict(asked), *regressor.predict_interval(asked, COVERAGE))


def tried(table: Table, regressor: str, size: int, seed: int) -> dict[str, Any]:
    """Errors of one regressor on rows it has not seen; of ours also the share that its interval holds."""
    if regressor == TOLD:
        return tried(numbered(table), OURS, size, seed)
    started = time.perf_counter()
    measured, predicted, held = list[Vector](), list[Vector](), list[npt.NDArray[np.bool_]]()
    for learnt, asked in splits(table, size, seed):
        fit, latency_ms, features = table.features[learnt], table.latency_ms[learnt], table.features[asked]
        measured.append(table.latency_ms[asked])
        if regressor == OURS:
            answer, low, high = _ours(fit, latency_ms, features)
            held.append((low <= measured[-1]) & (measured[-1] <= high))
        else:
            answer = REGRESSORS[regressor](fit, latency_ms, features)
        predicted.append(answer)
    covered = {"interval_90_holds_percent": 100 * float(np.concatenate(held).mean())} if held else {}
    found = asdict(errors(np.concatenate(predicted), np.concatenate(measured)))
    return {**found, **covered, "seconds": round(time.perf_counter() - started, 2)}


@lru_cache(maxsize=1)
def _known_device(features: bytes, latency_ms: bytes, columns: int) -> LatencyRegressor:
    known = np.frombuffer(features).reshape(-1, columns)
    return LatencyRegressor().fit(known, np.frombuffer(latency_ms))


def adapted(known: Table, new: Table, samples: int, draw: int) -> dict[str, Any]:
    """Errors on a new device, learnt from `samples` of its rows with and without the known device's regressor."""
    base = _known_device(known.features.tobytes(), known.latency_ms.tobytes(), len(known.columns))
    order = np.random.default_rng(draw).permutation(len(new.latency_ms))
    asked, learnt = order[:HELD_OUT], order[HELD_OUT:][:samples]
    if len(learnt) < samples:
        asked, learnt = order[samples:], order[:samples]
    fit, latency_ms, measured = new.features[learnt], new.latency_ms[learnt], new.latency_ms[asked]
    moved = base.adapt(fit, latency_ms)
    low, high = moved.predict_interval(new.features[asked], COVERAGE)
    return {
        "adapted": asdict(errors(moved.predict(new.features[asked]), measured)),
        "from_scratch": asdict(errors(REGRESSORS[OURS](fit, latency_ms, new.features[asked]), measured)),
        "interval_90_holds_percent": 100 * float(((low <= measured) & (measured <= high)).mean()),
    }


def pairs(tables: Sequence[Table]) -> list[tuple[Table, Table]]:
    """Known and new device, where the columns are the same."""
    return [(one, other) for one in tables for other in tables if one is not other and one.columns == other.columns]


def _read_tables(folder: Path) -> list[Table]:
    files = sorted(folder.glob("*.csv"))
    if not files:
        raise UserError(f"{folder} holds no CSV file: name a folder of tables with a column {LATENCY}.")
    return [read_table(file) for file in files]


def _stored(file: Path, about: Mapping[str, Any]) -> dict[str, Any]:
    """What an earlier run of the same tables left, else an empty result."""
    before = read_json(file) if file.is_file() else {}
    return before if before.get("about") == about else {"about": dict(about), "fits": [], "moves": []}


def main(
    folder: Annotated[Path, typer.Argument(help="folder of CSV files", metavar="DIR")],
    seeds: Annotated[int, typer.Option(help="random splits of each table", min=1)] = 3,
    output: Annotated[Path, typer.Option(help="folder for the result")] = Path("benchmarks/results/latency_tables"),
    page: Annotated[Path, typer.Option(help="page to write")] = Path("docs/benchmarks/latency_tables.md"),
) -> None:
    """Fit every regressor to every table, and write what came out as JSON and as a page."""
    tables = _read_tables(folder)
    about = {table.name: file_sha256(folder / f"{table.name}.csv") for table in tables}
    file, progress = output / RESULT, Progress()
    result = _stored(file, about)
    fits = [
        {"table": table.name, "rows": size, "regressor": name, "seed": seed}
        for name in (*REGRESSORS, TOLD)
        for table in tables
        for size in (sizes(table)[-1:] if name == TOLD else sizes(table))
        for seed in range(seeds)
    ]
    moves = [
        {"known": known.name, "new": new.name, "samples": samples, "draw": draw}
        for known, new in pairs(tables)
        for samples in SAMPLES
        for draw in range(DRAWS)
    ]
    by_name = {table.name: table for table in tables}

    def fit(one: Case) -> dict[str, Any]:
        return tried(by_name[one["table"]], one["regressor"], one["rows"], one["seed"])

    def move(one: Case) -> dict[str, Any]:
        return adapted(by_name[one["known"]], by_name[one["new"]], one["samples"], one["draw"])

    for kind, cases, work in (("fits", fits, fit), ("moves", moves, move)):
        done = [one["case"] for one in result[kind]]
        with progress.task(kind, len(cases), done=len(done)) as task:
            for case in cases:
                if case in done:
                    continue
                result[kind].append({"case": case, **work(case)})
                write_json_atomic(file, result)
                task.advance()
    notes = output / NOTES
    said = notes.read_text(encoding="utf-8") if notes.is_file() else ""
    write_bytes_atomic(page, page_text(result, said).encode())
    print(page)


if __name__ == "__main__":
    try:
        typer.run(main)
    except UserError as problem:
        print(f"error: {problem}", file=sys.stderr)
        raise SystemExit(2) from None
