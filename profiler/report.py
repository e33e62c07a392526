"""The report of a profile: how good the predictor is, how steady the machine was, and what was measured."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go

from devices.workload import Workload
from predictor.latency import LatencyPredictor
from profiler.evidence import Evidence
from profiler.observed import observations, only_within, predicted_ms
from profiler.workloads import WorkloadRange
from runs.report import Report

MOST_ROWS = 500
"""Of the table of models: the slowest; all are in the sample store."""


def write_report(
    path: Path, device: Mapping[str, Any], evidence: Evidence, predictor: LatencyPredictor, workloads: WorkloadRange
) -> None:
    """Write one HTML file; latencies in it are milliseconds of an undisturbed machine.

    `device` is what device.json is to hold.
    """
    mark, models = device["fingerprint"], device["models"]
    report = Report(f"Device profile: {device['target']} on {mark['processor']}")
    report.text(
        f"{device['samples']} samples of {device['cells']} pairs of a model and a workload: {models['fit']} models "
        f"that the predictor learned from and {models['check']} fresh whole students that it never saw. A sample is "
        "the median of a few runs; a latency is the fastest sample over all processes."
    )
    if device["adapted_from"]:
        report.text(adapted_words(device["adapted_from"]))
    report.text(f"Machine {evidence.steadiness.words}")
    for (threads, precision), found in evidence.disturbances.items():
        report.text(f"By the clock, models took {found.words}: threads {threads}, {precision}.")
    report.text(device["error_budget"]["words"])
    report.table(*budget_table(device["error_budget"]))
    if device["rounds"]:
        report.text("Rounds of measuring what the predictor was least sure of.")
        report.table(*round_table(device["rounds"]))
    report.table(("what", "value"), [(name, _text(value)) for name, value in mark.items()])
    for part in workloads.parts():
        if part.key in device["check"]:
            report.text(f"Workload {part.key}: the error on fresh whole students, and the noise floor below it.")
            report.table(*error_table(device["check"][part.key]))
            report.figure(scatter(evidence, predictor, part))
        report.figure(drift(evidence, part))
        report.figure(noise(evidence, part))
    report.text(f"Models and workloads measured, slowest first, at most {MOST_ROWS}.")
    report.table(*model_table(evidence))
    report.write(path)


def adapted_words(origin: Mapping[str, Any]) -> str:
    """Where an adapted profile's predictor comes from, in a sentence."""
    return (
        f"Adapted with {origin['samples']} measurements from the profile of {origin['target']} on "
        f"{origin['processor']} ({origin['workloads']}) in {origin['folder']}."
    )


def budget_table(budget: Mapping[str, Any]) -> tuple[list[str], list[list[object]]]:
    """Headers and rows of the error budget."""
    rows: list[list[object]] = [
        ["noise: fastest of the processes that timed a model", budget["noise_percent"]],
        ["model: beyond noise, on whole students that a fold left out", budget["model_percent"]],
        ["transfer: beyond that, to fresh students with the whole vocabulary", budget["transfer_percent"]],
        ["all: on fresh students", budget["fresh_percent"]],
    ]
    return ["mean absolute error", "%"], rows


def round_table(rounds: list[dict[str, Any]]) -> tuple[list[str], list[list[object]]]:
    """Headers and rows: the error on held-out folds before each round, and what the round added."""
    rows: list[list[object]] = [
        [number, one["error_percent"], one.get("cells", 0)] for number, one in enumerate(rounds, start=1)
    ]
    return ["round", "error on held-out folds before it, %", "measured"], rows


def error_table(check: Mapping[str, Any]) -> tuple[list[str], list[list[object]]]:
    """Headers and rows: one row a method with its errors, the noise floor in the last; also what a terminal shows."""
    errors: dict[str, dict[str, Any]] = check["errors"]
    columns = list(next(iter(errors.values())))
    rows: list[list[object]] = [[name, *(_text(found[column]) for column in columns)] for name, found in errors.items()]
    floor: dict[str, object] = {"mape_percent": check["noise_floor_percent"]}
    rows.append(["noise floor", *(floor.get(column) for column in columns)])
    return ["method", *(column.replace("_percent", " %").replace("_", " ") for column in columns)], rows


def scatter(evidence: Evidence, predictor: LatencyPredictor, part: WorkloadRange) -> go.Figure:
    """Predicted against measured ms on logarithmic axes; learned and fresh models apart."""
    figure = go.Figure()
    ends: list[float] = []
    measurements = only_within(evidence.measurements, part)
    for label, items in (("learned from", evidence.fit), ("fresh whole students", evidence.check)):
        seen = observations(items, measurements)
        names = [f"{key}, {workload.key}" for key, workload in measurements if key in items]
        measured = [one.latency_ms for one in seen]
        ends += measured
        predicted = predicted_ms(predictor, seen)
        figure.add_scatter(x=measured, y=predicted, text=names, mode="markers", name=label)
    line = [min(ends), max(ends)]
    figure.add_scatter(x=line, y=line, mode="lines", name="equal", line={"dash": "dot"})
    figure.update_layout(title=f"Predicted against measured, {part.key}")
    figure.update_xaxes(type="log", title="measured, ms")
    figure.update_yaxes(type="log", title="predicted, ms")
    return figure


def drift(evidence: Evidence, part: WorkloadRange) -> go.Figure:
    """The reference over time, one line a process: a slow machine shows here, a slow model does not."""
    figure = go.Figure()

    def counts(workload: Workload) -> bool:
        return workload.threads in part.threads and workload.precision in part.precisions

    seen = [one for one in evidence.samples if one.key == evidence.reference and counts(one.workload)]
    start = min((sample.taken_at for sample in seen), default=0.0)
    for process in sorted({sample.process for sample in seen}):
        mine = [sample for sample in seen if sample.process == process]
        figure.add_scatter(
            x=[sample.taken_at - start for sample in mine],
            y=[sample.milliseconds for sample in mine],
            mode="lines+markers",
            name=f"process {process + 1}",
        )
    figure.update_layout(title=f"Drift of the machine, {part.key}: the reference in every round, as clocked")
    figure.update_xaxes(title="seconds since the first sample")
    figure.update_yaxes(title="ms", rangemode="tozero")
    return figure


def noise(evidence: Evidence, part: WorkloadRange) -> go.Figure:
    """How far two processes disagree about each model at its fastest, in percent."""
    floors = [found.unsure_percent for found in only_within(evidence.measurements, part).values()]
    figure = go.Figure(go.Histogram(x=floors, nbinsx=40))
    figure.update_layout(title=f"How unsure each model is, {part.key}, median {np.median(floors):.2f} %")
    figure.update_xaxes(title="second fastest process beyond the fastest, %")
    figure.update_yaxes(title="models")
    return figure


def model_table(evidence: Evidence) -> tuple[list[str], list[list[object]]]:
    """Headers and rows of the slowest measurements."""
    found = sorted(evidence.measurements.values(), key=lambda one: -one.latency_ms)[:MOST_ROWS]
    headers = ["model", "workload", "used for", "undisturbed ms", "slowest process ms", "unsure %", "samples"]
    return headers, [
        [
            one.key,
            one.workload.key,
            "check" if one.key in evidence.check else "fit",
            one.latency_ms,
            one.process_ms[-1],
            one.unsure_percent,
            one.samples,
        ]
        for one in found
    ]


def _text(value: Any) -> object:
    if isinstance(value, dict):
        return ", ".join(f"{name} {part}" for name, part in value.items())
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else value
