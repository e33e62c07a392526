"""The report of a search: what was promised and measured, who was tried, how well the controller foretold it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import plotly.graph_objects as go

from distill.curve_figure import curve_figure, read_learnt
from nas.budget import Budget
from nas.context import RESULTS
from nas.result_folder import CHECKPOINT
from nas.verdict import cut_text, tried_text
from runs.folder import RunFolder
from runs.report import Report
from students.shape_text import shape_text
from students.spec import StudentSpec

REPORT_FILE = "report.html"


def write_report(
    path: Path,
    run: RunFolder,
    budgets: Sequence[Budget],
    verdicts: Sequence[dict[str, Any]],
    fronts: Sequence[Sequence[dict[str, Any]]],
    choices: Sequence[dict[str, Any]],
) -> None:
    """Write one HTML file with a chapter a budget; each has a verdict and a front (`nas.front`).

    `choices` are those among precisions (`nas.choice`).
    """
    report = Report("Search for " + ", ".join(dict.fromkeys(f"{budget.latency_ms:g} ms" for budget in budgets)))
    for choice in choices:
        if choice["tried"]:
            _choice(report, choice)
    for budget, verdict, front in zip(budgets, verdicts, fronts, strict=True):
        _chapter(report, run, budget, verdict, front)
    report.write(path)


def _choice(report: Report, choice: dict[str, Any]) -> None:
    report.text(
        f"Of these, {choice['chosen']} is chosen: of those that keep what was asked for, or of all where none does, "
        "its file answers the validation split best."
    )
    names = tuple(choice["tried"][0])
    report.table(names, [[row[name] for name in names] for row in choice["tried"]])


def _chapter(
    report: Report, run: RunFolder, budget: Budget, verdict: dict[str, Any], front: Sequence[dict[str, Any]]
) -> None:
    searched, timed = run.result(f"{budget.label} search"), run.result(f"{budget.label} finalists")
    assert searched is not None and timed is not None
    kept = "keeps" if verdict["within_budget"] else "MISSES"
    latency = verdict["latency_ms"]
    report.text(
        f"Budget {budget.latency_ms:g} ms on {verdict['target']}, workload {budget.workload.key}: the student "
        f"{kept} it with {latency['measured_p50']:.2f} ms. Method {verdict['method']}, effort {verdict['effort']}: "
        f"{tried_text(verdict['schedule'])}, seed {verdict['seed']}{cut_text(verdict['schedule'])}."
    )
    report.table(("what", "value"), verdict_rows(verdict))
    learnt = read_learnt(run.path / RESULTS / budget.label / CHECKPOINT)
    report.text(f"{learnt.text} Training loss is the mean since the point before.")
    report.figure(curve_figure(learnt, verdict["score"]["metric"]))
    report.text("The exported files, timed on ONNX Runtime.")
    first = ("first_token_ms",) if budget.workload.earlier_tokens else ()
    columns = ("file", "precision", "bytes", "latency_ms", *first, "memory_bytes", "agreement")
    # Verdicts of earlier versions know nothing of memory.
    report.table(columns, [[file.get(column) for column in columns] for file in verdict["student"]["files"]])
    report.text(
        "Every candidate that was tried: predicted latency against reward. Those joined by the line are beaten by no "
        f"other in reward, latency and weights at once; front/{budget.label} has their shapes, which distill-student "
        "takes."
    )
    report.figure(trials_figure(searched["trials"], front, verdict["schedule"]["episodes"], budget))
    report.text(
        "The controller by episode. The correlations are Spearman's, between the rewards it foretold for the episode's "
        "candidates, before it learned from them, and the rewards that came out; the ridge regression sees the same "
        "inputs as the LSTM. With so few candidates an episode they are rough."
    )
    episodes = searched["episodes"]
    names = list(dict.fromkeys(name for row in episodes for name in row))
    report.table(names, [[row.get(name) for name in names] for row in episodes])
    report.text("Finalists that were timed within the budget before distillation, the best reward first.")
    report.table(
        ("student", "reward", "predicted ms", "measured ms", "steps trimmed", "steps grown"), finalist_rows(timed)
    )


def verdict_rows(verdict: dict[str, Any]) -> list[tuple[str, object]]:
    """What was promised and what was measured, by name."""
    score, latency, teacher, student = (verdict[key] for key in ("score", "latency_ms", "teacher", "student"))
    low, high = latency["interval"]
    return [
        ("student", shape_text(StudentSpec.from_json(student["spec"]))),
        ("weights of the student", student["parameters"]),
        ("weights of the teacher", teacher["parameters"]),
        ("median ms of the student", latency["measured_p50"]),
        ("90th percentile", latency["measured_p90"]),
        ("noise floor, %", latency["noise_floor_percent"]),
        ("timed again because the machine had slowed", len(latency.get("discarded_ms", []))),
        ("predicted ms", f"{latency['predicted']:.2f} ({low:.2f}-{high:.2f})"),
        (f"median ms of the teacher, timed as {teacher['timed_as']}", teacher["latency_ms"]),
        ("the teacher fits the budget already", teacher["fits_budget"]),
        ("speed-up", verdict["speedup"]),
        (f"{score['split']} {score['metric']} of the teacher", score["teacher"]),
        ("of the student", score["student"]),
        ("of bag-of-words", score["bag_of_words"]),
        ("share of the teacher's score kept", score["retained"]),
        ("share of the gap from bag-of-words kept", score["gap_kept"]),
        ("largest difference of the fp32 file", verdict["parity"]["max_abs_error"]),
        ("its agreement", verdict["parity"]["agreement"]),
        ("data", f"{verdict['data']['name']}, {verdict['data']['licence']}, {verdict['data']['source']}"),
        ("teacher", f"{teacher['name']}, {teacher['licence']}"),
    ]


def trials_figure(
    trials: Sequence[dict[str, Any]], front: Sequence[dict[str, Any]], episodes: int, budget: Budget
) -> go.Figure:
    """One point a trial, coloured by episode; the front's are joined by a line."""
    per_episode = max(1, -(-len(trials) // max(1, int(episodes))))
    figure = go.Figure(
        go.Scatter(
            x=[trial["details"]["ms"] for trial in trials],
            y=[trial["reward"] for trial in trials],
            mode="markers",
            text=[f"trial {trial['number']}" for trial in trials],
            marker={
                "color": [trial["number"] // per_episode for trial in trials],
                "colorbar": {"title": "episode"},
                "size": 10,
            },
        )
    )
    figure.add_scatter(
        x=[trial["details"]["ms"] for trial in front], y=[trial["reward"] for trial in front], mode="lines"
    )
    figure.update_layout(showlegend=False)
    figure.add_vline(x=budget.latency_ms, line_dash="dash")
    figure.update_layout(xaxis_title="predicted ms", yaxis_title="reward")
    return figure


def finalist_rows(timed: dict[str, Any]) -> list[list[object]]:
    """One row a finalist."""
    return [
        [
            shape_text(StudentSpec.from_json(one["spec"])),
            one["reward"],
            one["predicted_ms"],
            one["measured_ms"],
            one["trimmed"],
            one.get("filled", 0),
        ]
        for one in timed["finalists"]
    ]
