#!/usr/bin/env python3
"""How much faster than its teacher is the fastest student that keeps 97 % of the teacher's accuracy?

`search_quality.py … --results benchmarks/results/kept` fills a ladder of budgets; this takes, of each method, the
smallest at which validation says that the share is kept, times those students and their teacher on ONNX Runtime, in
fp32, one text at a time, one thread, alternating (`--clock`, on a machine that does nothing else), and writes
`docs/benchmarks/kept.md`: accuracy is read on test.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from grid.teaching import machine
from quality.kept import Kept, fastest, ladder, methods_of

from devices.workload import Workload
from export.items import item_key
from nas.device import time_items
from runs.errors import UserError
from runs.files import read_json, write_bytes_atomic, write_json_atomic
from runs.progress import Progress
from students.shape_text import shape_text
from students.shapes import SHAPES
from students.spec import StudentSpec

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "kept"
PAGE = HERE.parent / "docs" / "benchmarks" / "kept.md"
CLOCK = "clock"
TARGET = "onnxruntime"

READING = """\
Of each method the student of the smallest budget (for 128 tokens, one search each) that keeps {share:.0f} % of its
teacher's accuracy on validation; what it then has on test, and how many times faster it is than its teacher: fp32
against fp32 in ONNX Runtime, one text at a time, one thread, alternating over three processes, once with 128 tokens
and once with as many as 99 % of the task's texts fit into. Shapes *by hand* are ones that people made, as wide as the
budget holds, by the same recipe; *none* says that no budget tried was enough. The intervals are over test texts, and
over seeds where there are several."""


def teacher_of(student: StudentSpec, shape: str) -> StudentSpec:
    """The teacher's shape, under the student's words and head."""
    like = SHAPES[shape]
    widths = {"embedding_width": like.embedding_width, "hidden_width": like.hidden_width, "layers": like.layers}
    return replace(student, **widths)  # type: ignore[arg-type]


def timed(task: Mapping[str, StudentSpec], lengths: list[int], progress: Progress) -> dict[str, dict[str, float]]:
    """Milliseconds by name of a spec and length."""
    found: dict[str, dict[str, float]] = {name: {} for name in task}
    for length in lengths:
        items = {item_key(spec): spec for spec in task.values()}
        measured = time_items(items, TARGET, Workload(sequence_length=length), 0, progress)
        for name, spec in task.items():
            found[name][str(length)] = round(measured[item_key(spec)].p50_ms, 4)
    return found


def clocked(results: Path, name: str, found: Mapping[str, Kept], shape: str, length: int) -> None:
    """Time a task's students and their teacher, and store it beside the cells."""
    specs = {how: kept.spec for how, kept in found.items()}
    specs["teacher"] = teacher_of(next(iter(specs.values())), shape)
    measured = timed(specs, [128, length], Progress())
    about = {"machine": machine(), "short": length, "specs": {how: item_key(spec) for how, spec in specs.items()}}
    write_json_atomic(results / CLOCK / f"{name}.json", {**about, "ms": measured})


def section(name: str, found: Mapping[str, Kept | None], clock: Mapping[str, Any]) -> list[str]:
    """Markdown of one task; times only of the students that were timed."""
    kept = [one for one in found.values() if one is not None]
    short, ms = clock.get("short"), clock.get("ms", {})
    head = ["", "budget", "validation", "test", "of the teacher", "minus teacher", "ms, 128 tokens", "times faster",
            f"ms, {short or 'few'} tokens", "times faster", "shape"]  # fmt: skip
    lines = [f"## {name}", ""]
    if kept:
        teacher, words = 100 * kept[0].teacher.mean(), 100 * kept[0].words.mean()
        lines += [f"Teacher {teacher:.1f} %, bag-of-words {words:.1f} % on test.", ""]
    lines += [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for how, one in found.items():
        if one is None:
            lines.append(f"| {how} | none" + " |" * (len(head) - 1))
            continue
        same = clock.get("specs", {}).get(how) == item_key(one.spec)
        speed = []
        for length in ("128", str(short)):
            known = same and length in ms[how]
            speed += [f"{ms[how][length]:.2f}", f"{ms['teacher'][length] / ms[how][length]:.1f}"] if known else ["", ""]
        test, minus = one.test, one.minus_teacher
        lines.append(
            f"| {how} | {one.budget_ms:g} ms | {100 * one.validation:.1f} | {100 * test.mean:.1f} "
            f"({100 * test.low:.1f}–{100 * test.high:.1f}) | {100 * one.of_teacher:.1f} % | {100 * minus.mean:+.1f} "
            f"[{100 * minus.low:+.1f}, {100 * minus.high:+.1f}] | {' | '.join(speed)} | {shape_text(one.spec)} |"
        )
    if ms:
        times = ", ".join(f"{value:.2f} ms with {length}" for length, value in ms["teacher"].items())
        lines += ["", f"The teacher takes {times} tokens, on {clock['machine']['processor']}."]
    return [*lines, ""]


def rungs(one: Mapping[str, Any]) -> list[str]:
    """Markdown of all that was tried: shares of the teacher's accuracy on validation and on test."""
    ladders = {how: ladder(one, how) for how in methods_of(one)}
    budgets = sorted(set().union(*ladders.values()))
    lines = ["All that was tried, in percent of the teacher's accuracy on validation and on test:", ""]
    lines += ["| | " + " | ".join(f"{budget:g} ms" for budget in budgets) + " |", "|" + "---|" * (len(budgets) + 1)]
    for how, found in ladders.items():
        cells = [f"{100 * found[b][0]:.1f}, {100 * found[b][1]:.1f}" if b in found else "" for b in budgets]
        lines.append(f"| {how} | {' | '.join(cells)} |")
    return [*lines, ""]


def main(
    tasks: Annotated[list[str], typer.Argument(help="NAME=TOKENS: a task, and what 99 % of its texts fit into.")],
    share: Annotated[float, typer.Option(help="Of the teacher's accuracy.")] = 0.97,
    clock: Annotated[bool, typer.Option(help="Time what comes out; otherwise what was timed before is shown.")] = False,
    teacher_shape: Annotated[str, typer.Option(help="The teacher's, by name.")] = "minilm-l6-h384",
    results: Path = RESULTS,
    page: Path = PAGE,
) -> None:
    """Choose, time and write."""
    lines = ["# How fast a student is that keeps its teacher's accuracy", "", READING.format(share=100 * share), ""]
    for name, _, tokens in (task.partition("=") for task in tasks):
        if not tokens.isdigit():
            raise UserError(f"{name!r} says no number of tokens: write {name}=32, or as many as its texts have.")
        one = read_json(results / f"{name}.json", "results")
        found = {how: fastest(one, how, share) for how in methods_of(one)}
        there = {how: kept for how, kept in found.items() if kept is not None}
        if clock and there:
            clocked(results, name, there, teacher_shape, int(tokens))
        stored = results / CLOCK / f"{name}.json"
        lines += section(name, found, dict(read_json(stored, "times")) if stored.is_file() else {})
        lines += rungs(one)
    write_bytes_atomic(page, ("\n".join(lines).rstrip() + "\n").encode())
    Progress().say(f"written: {page}")


if __name__ == "__main__":
    try:
        typer.run(main)
    except UserError as problem:
        raise SystemExit(f"error: {problem}") from None
