"""The page of public latency tables, from the JSON that `latency_tables.py` leaves, and from nothing else."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas

FIGURES = {
    "mape_percent": "MAPE, %",
    "rmspe_percent": "RMSPE, %",
    "within_5_percent": "within 5 %, %",
    "within_10_percent": "within 10 %, %",
    "spearman": "Spearman ρ",
    "kendall": "Kendall τ",
    "interval_90_holds_percent": "inside the 90 % interval, %",
}

DECIMALS = {"spearman": 3, "kendall": 3}
"""All other figures have two."""

OPENING = """# Public latency tables

```
python benchmarks/latency_tables.py DIR
```

DIR is a folder of CSV files with numeric columns and `latency_ms`. Of every table 200 rows are held out, and a column
says how many of the others are learnt from; a table too short for that is split ten-fold. Figures are means over
{seeds} random splits, always of rows that the fit has not seen. `tailorbird` is `predictor.regressor.LatencyRegressor`
with its defaults; it and every other regressor are given the columns as they are.

Rows stand in the order in which their publishers wrote them. Where the last line of a table, which is told each row's
number as well, is far below the first, that much of the error is drift of the machine while it was measured: no
regressor can know it of a row to come.
"""

ADAPTING = """## A second device from a few rows

The regressor learnt from every row of one table, then adapted (`LatencyRegressor.adapt`) to another with the same
columns by a few of its rows, beside `LatencyRegressor` fitted to these rows alone. MAPE in %, mean over {draws} random
samples; the last column is the share of fresh rows inside the adapted regressor's 90 % interval, over all sample sizes.
"""


def _frame(rows: Sequence[Mapping[str, Any]]) -> pandas.DataFrame:
    return pandas.json_normalize([dict(row) for row in rows]).rename(columns=lambda name: name.removeprefix("case."))


def _table(frame: pandas.DataFrame, corner: str) -> str:
    """A frame of strings as Markdown; its index is the first column."""
    lines = [[corner, *map(str, frame.columns)], ["---"] * (1 + len(frame.columns))]
    lines += [[str(name), *cells] for name, cells in zip(frame.index, frame.to_numpy().tolist(), strict=True)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _rounded(value: float, decimals: int = 2) -> str:
    return "" if pandas.isna(value) else f"{value:.{decimals}f}"


def _rows(count: int) -> str:
    return f"{count} rows" if count else "ten-fold"


def _error_by_rows(fits: pandas.DataFrame, regressors: list[str]) -> str:
    """MAPE, regressor by rows learnt from: first averaged over tables, so that each counts once."""
    means = fits.groupby(["regressor", "rows"])["mape_percent"].mean().unstack()
    return _table(means.reindex(regressors).map(_rounded).rename(columns=_rows), "regressor")


def _all_figures(fits: pandas.DataFrame, regressors: list[str]) -> str:
    """Every figure of one table at its largest number of rows."""
    largest = fits[fits["rows"] == fits["rows"].max()]
    means = largest.groupby("regressor")[[name for name in FIGURES if name in fits]].mean().reindex(regressors)
    words = {FIGURES[name]: [_rounded(one, DECIMALS.get(name, 2)) for one in means[name]] for name in means}
    return _table(pandas.DataFrame(words, index=regressors), _rows(largest["rows"].iloc[0]))


def _moves(moves: pandas.DataFrame) -> str:
    by = moves.groupby(["known", "new", "samples"])
    pair = by[["adapted.mape_percent", "from_scratch.mape_percent"]].mean().map(_rounded)
    cells = (pair["adapted.mape_percent"] + " / " + pair["from_scratch.mape_percent"]).unstack().add_suffix(" samples")
    cells["in the interval, %"] = moves.groupby(["known", "new"])["interval_90_holds_percent"].mean().map(_rounded)
    cells.index = [f"{known} → {new}" for known, new in cells.index]
    return _table(cells, "adapted / from scratch")


def page_text(result: Mapping[str, Any], notes: str = "") -> str:
    """Markdown of everything stored, and at its end what people have to say about it."""
    fits = _frame(result["fits"])
    regressors = list(fits["regressor"].unique())
    parts = [OPENING.format(seeds=fits["seed"].nunique())]
    # Tables of one publication share the first word of their names.
    for group, of_group in fits.groupby(fits["table"].str.split("_").str[0], sort=False):
        names = list(of_group["table"].unique())
        if len(names) > 1:
            parts.append(
                f"## {group}: MAPE in %, mean of {len(names)} tables\n\n{_error_by_rows(of_group, regressors)}"
            )
        for name in names:
            own = of_group[of_group["table"] == name]
            parts.append(f"### {name}\n\n{_error_by_rows(own, regressors)}\n{_all_figures(own, regressors)}")
    if result["moves"]:
        moves = _frame(result["moves"])
        parts.append(f"{ADAPTING.format(draws=moves['draw'].nunique())}\n{_moves(moves)}")
    if notes.strip():
        parts.append(notes.strip() + "\n")
    return "\n".join(parts)
