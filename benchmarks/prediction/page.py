"""The page of measured prediction errors, written from the JSON results and nothing else."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from prediction.evaluation import OURS
from prediction.figures import JUDGED, TRUTHS
from runs.files import read_json, write_bytes_atomic
from students.layer_types import layer_text
from students.spec import StudentSpec

Result = Mapping[str, Any]

COMMAND = ".venv/bin/python benchmarks/latency_prediction.py"
FIGURES = {
    "mape_percent": "MAPE %",
    "rmspe_percent": "RMSPE %",
    "within_5_percent": "±5 %",
    "within_10_percent": "±10 %",
    "spearman": "Spearman",
    "kendall": "Kendall",
    "worst_percent": "worst %",
    "interval_90_holds_percent": "90 % interval holds",
}
"""Key of a figure → head of its column."""

CORRELATIONS = ("spearman", "kendall")

TRUTH_WORDS = {"undisturbed": "undisturbed", "clocked": "as clocked"}


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    lines += [f"| {' | '.join(map(str, row))} |" for row in rows]
    return "\n".join(lines)


def number(value: float | None, decimals: int | None = None) -> str:
    """Three significant digits or so, or as many decimals as asked for; a dash for what there is not."""
    if value is None:
        return "–"
    return f"{value:.{(1 if abs(value) >= 10 else 2) if decimals is None else decimals}f}"


def figure(key: str, found: Mapping[str, Any]) -> str:
    """One figure; correlations need more digits to be told apart."""
    return number(found.get(key), 4 if key in CORRELATIONS else None)


def figure_row(name: str, found: Mapping[str, Any]) -> list[str]:
    """One line of figures."""
    return [name, *(figure(key, found) for key in FIGURES)]


def bars_part(results: Sequence[Result]) -> str:
    """Every bar, and whether it is met."""
    rows = [
        [
            line["what"],
            FIGURES.get(line["figure"], line["figure"].replace("_", " ").replace("percent", "%")),
            f"{'≤' if line['at_most'] else '≥'} {line['limit']:g}",
            *(number(line.get(truth), 4 if line["figure"] in CORRELATIONS else None) for truth in TRUTHS),
            "yes" if line["met"] else "**no**",
        ]
        for result in results
        for line in result["bars"]
    ]
    return table(["what", "figure", "bar", *TRUTH_WORDS.values(), "met"], rows)


def _precision_parts(precision: str, found: Mapping[str, Any]) -> Iterator[str]:
    floor = found["noise_floor"]
    yield f"### {precision}"
    if found["random"]:
        ours = found["random"][JUDGED][OURS]
        yield (
            f"{ours['students']} random students. Their fastest samples in two processes differ by "
            f"{number(floor['median_percent'])} % in the median, {number(floor['p90_percent'])} % for one in ten."
        )
        for truth in TRUTHS:
            rows = [figure_row(name, errors) for name, errors in found["random"][truth].items()]
            yield f"Errors, {TRUTH_WORDS[truth]}:"
            yield table(["contender", *FIGURES.values()], rows)
        yield f"Ours by kind, threads and length, {TRUTH_WORDS[JUDGED]}:"
        parts = [figure_row(f"{name} ({part['rows']})", part) for name, part in found["parts"][JUDGED].items()]
        yield table(["part (rows)", *FIGURES.values()], parts)
        yield _worst_text(found["worst"][JUDGED])
    if found["shapes"]:
        yield "Named shapes, none of which was learnt from:"
        yield named_table(found["shapes"])


def _worst_text(worst: Mapping[str, Any]) -> str:
    spec, at = StudentSpec.from_json(worst["spec"]), worst["workload"]
    layers = ", ".join(dict.fromkeys(map(layer_text, spec.layers)))
    return (
        f"Worst case: {worst['kind']}, {len(spec.layers)} layers of hidden width {spec.hidden_width} ({layers}), "
        f"{at['sequence_length']} tokens, threads: {at['threads']}; predicted {number(worst['predicted_ms'])} ms, "
        f"measured {number(worst['measured_ms'])} ms ({worst['error_percent']:+.1f} %)."
    )


def named_table(shapes: Sequence[Mapping[str, Any]]) -> str:
    """A line a shape: its error in each workload."""
    workloads = sorted({one["workload"] for one in shapes}, key=_length)
    lengths = list(dict.fromkeys(_length(key) for key in workloads))
    errors: dict[str, dict[int, float]] = {}
    for one in shapes:
        off = 100 * (one["predicted_ms"] / one["undisturbed_ms"] - 1)
        errors.setdefault(one["shape"], {})[_length(one["workload"])] = off
    rows = [
        [name, *(f"{found[at]:+.1f}" if at in found else "–" for at in lengths)]
        for name, found in sorted(errors.items())
    ]
    return table(["error in % at tokens", *map(str, lengths)], rows)


def _length(workload: str) -> int:
    """Tokens of a workload's key, `b1-s128-t1-fp32`."""
    return int(workload.split("-")[1].removeprefix("s"))


def _adaptation_parts(results: Sequence[Result]) -> Iterator[str]:
    for result in results:
        for name, found in result["adaptation"].items():
            counts = list(next(iter(found["ways"].values())))
            rows = [
                [way, *(number(one[count] and one[count]["mape_percent"]) for count in counts)]
                for way, one in found["ways"].items()
            ]
            yield f"{name}, {found['rows']} rows; the full profile has {number(found['full_mape_percent'])} %:"
            yield table(["MAPE % at samples", *counts], rows)


def lean(apart: Mapping[str, float]) -> str:
    """Which way the second of two predictors leans."""
    return f"{apart['lean_percent']:+.1f} %"


def target_parts(result: Result) -> Iterator[str]:
    """Everything about one target."""
    profile, asked, machine = result["profile"], result["held_out"], result["fingerprint"]
    runtime = ", ".join(f"{name} {value}" for name, value in machine["runtime"].items())
    speeds = ", ".join(f"{name} {100 * (ratio - 1):+.1f} %" for name, ratio in asked["reference_now_over_then"].items())
    yield f"## `{result['target']}`"
    yield f"{machine['processor']}, {machine['cores']} cores, {machine['system']}; {runtime}."
    yield (
        f"Profile `{profile['effort']}`: {profile['seconds'] / 60:.1f} minutes, {profile['rows_learnt_from']} rows to "
        f"learn from; {profile['rows_left_out']} more, of shapes that are held out here, were kept from every fit. "
        f"The machine then was {profile['stability']} {profile['error_budget']}"
    )
    yield (
        f"Held out: {asked['rows']} of {asked['rows_planned']} rows, from {asked['minutes_after_profile']:.0f} minutes "
        f"after the profile on. The machine was {asked['stability']} Beside the profile the reference block took: "
        f"{speeds}."
    )
    for precision, found in result["precisions"].items():
        yield from _precision_parts(precision, found)
    yield "### What a profile could not have helped"
    yield (
        "Random students, a fifth of them at a time, asked of a predictor that has learnt the profile and the other "
        "four fifths as well: what is left is noise of their own measuring and what the law cannot say."
    )
    rows = [figure_row(precision, found) for precision, found in result["informed"].items()]
    yield table(["undisturbed", *FIGURES.values()], rows)
    again = result["again"]
    if again:
        yield "### Profiled again"
        yield (
            f"{again['minutes_after']:.0f} minutes after the first profile ended. How far both predictors are apart on "
            "the held-out students, and how much more the second says:"
        )
        rows = [[number(again["median_percent"]), number(again["p90_percent"]), lean(again)]]
        yield table(["apart, median %", "one in ten, %", "the second says"], rows)
    yield "### The profile's own predictor"
    yield "It has also learnt the named shapes that the profile measured."
    rows = [
        figure_row(f"{precision}, {TRUTH_WORDS[truth]}", found[truth])
        for precision, found in result["own"].items()
        for truth in TRUTHS
    ]
    yield table(["all rows", *FIGURES.values()], rows)


INTRODUCTION = """# Latency prediction, measured

Written by `benchmarks/latency_prediction.py` from `benchmarks/results/latency_prediction/`. Every contender was fitted
to the same measured rows and asked for students that none had seen, timed in other processes after the wait that is
named. *Undisturbed* is what a profile learns and a predictor predicts: the fastest sample over several processes,
minutes apart, less what the reference block lost even beside that (`devices/undisturbed.py`). *As clocked* is the
median of the processes' medians, with all that the machine's neighbours did meanwhile; everyone's predictions are
then multiplied by how much longer than undisturbed the profile's models usually took by the clock
(`devices/disturbance.py`). A bar counts as met by the undisturbed latency.
"""


NOTES = "notes.md"
"""Beside the results: what people have to say about them, put at the end of the page as it is."""


def page_text(results: Sequence[Result], notes: str = "") -> str:
    """The whole page; targets in the order given."""
    targets = " ".join(f"--target {result['target']}" for result in results)
    parts = [INTRODUCTION.strip(), f"```\n{COMMAND} {targets}\n```", "## Bars", bars_part(results)]
    for result in results:
        parts += target_parts(result)
    adaptation = list(_adaptation_parts(results))
    if adaptation:
        parts += ["## A new device or workload by few samples", *adaptation]
    return "\n\n".join([*parts, notes.strip()]).strip() + "\n"


def write_page(folder: Path, page: Path) -> None:
    """Write the page of all results in `folder`, and the notes that lie there."""
    results = [read_json(file, "result") for file in sorted(folder.glob("*.json"))]
    notes = folder / NOTES
    text = notes.read_text(encoding="utf-8") if notes.is_file() else ""
    write_bytes_atomic(page, page_text(results, text).encode())
