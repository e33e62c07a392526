"""The report of one distilled student: its scores beside its teacher's, and how it came to them."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from distill.curve_figure import curve_figure, read_learnt
from runs.report import Report

REPORT_FILE = "report.html"


def write_distilled_report(path: Path, result: Mapping[str, Any], student: Path) -> None:
    """Write one HTML file of what `distill-student` found (`result`) and of the curve in the folder `student`."""
    score, teacher, data = result["score"], result["teacher"], result["data"]
    learnt = read_learnt(student)
    report = Report(f"A student of {teacher['name']} for {data['name']}")
    report.text(f"Recipe {result['recipe']}. {learnt.text}")
    report.table(
        ("what", "student", "teacher", "bag-of-words"),
        [
            ("weights", result["parameters"], teacher["parameters"], None),
            (f"{score['split']} {score['metric']}", score["student"], score["teacher"], score["bag_of_words"]),
        ],
    )
    report.text(f"Data: {data['name']}, {data['licence']}, {data['source']}.")
    report.text("Training loss is the mean since the point before. Where a recipe has stages, they have other losses.")
    report.figure(curve_figure(learnt, score["metric"]))
    points = [asdict(point) for point in learnt.points]
    report.table(tuple(points[0]), [tuple(point.values()) for point in points])
    report.write(path)
