"""The report of a profile: how good the predictor is, how steady the machine was, and what was measured."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go

from devices.fingerprint import Fingerprint
from devices.measurement import Measurement, Sample
from devices.workload import Workload
from export.items import item_blocks
from predictor.latency import LatencyPredictor
from profiler.plan import Plan
from runs.report import Report
from students.table import SpecTable

Measurements = Mapping[tuple[str, Workload], Measurement]


def write_report(
    path: Path,
    mark: Fingerprint,
    plan: Plan,
    measurements: Measurements,
    samples: Sequence[Sample],
    predictor: LatencyPredictor,
    check: Mapping[str, Any],
) -> None:
    """Write one HTML file; latencies in it are milliseconds with the drift of the machine divided out."""
    report = Report(f"Device profile: {mark.target} on {mark.processor}")
    report.text(
        f"{len(samples)} samples of {len(plan.items)} models: {len(plan.fit)} that the predictor learned from and "
        f"{len(plan.check)} fresh whole students that it never saw. A sample is the median of a few runs; a latency is "
        "the median over the processes of the median of their samples."
    )
    report.table(("what", "value"), [(name, _text(value)) for name, value in mark.to_json().items()])
    for workload in sorted({workload for _, workload in measurements}):
        report.text(f"Workload {workload.key}: the error on fresh whole students, and the noise floor below it.")
        report.table(*error_table(check[workload.key]))
        report.figure(scatter(plan, measurements, predictor, workload))
        report.figure(drift(samples, plan.reference, workload))
        report.figure(noise(measurements, workload))
        report.text("Every model measured, slowest first.")
        report.table(*model_table(plan, measurements, workload))
    report.write(path)


def error_table(check: Mapping[str, Any]) -> tuple[list[str], list[list[object]]]:
    """Headers and rows: one row a method with its errors, the noise floor in the last; also what a terminal shows."""
    errors: dict[str, dict[str, Any]] = check["errors"]
    columns = list(next(iter(errors.values())))
    rows: list[list[object]] = [[name, *(_text(found[column]) for column in columns)] for name, found in errors.items()]
    floor: dict[str, object] = {"mape_percent": check["noise_floor_percent"]}
    rows.append(["noise floor", *(floor.get(column) for column in columns)])
    return ["method", *(column.replace("_percent", " %").replace("_", " ") for column in columns)], rows


def scatter(plan: Plan, measurements: Measurements, predictor: LatencyPredictor, workload: Workload) -> go.Figure:
    """Predicted against measured ms on logarithmic axes; learned and fresh models apart."""
    figure = go.Figure()
    ends: list[float] = []
    for label, items in (("learned from", plan.fit), ("fresh whole students", plan.check)):
        keys = list(items)
        rows = [item_blocks(items[key]) or () for key in keys]
        predicted = predictor.predict(SpecTable.from_blocks(rows), workload)
        measured = [measurements[key, workload].p50_ms for key in keys]
        ends += [min(measured), max(measured)]
        figure.add_scatter(x=measured, y=predicted, text=keys, mode="markers", name=label)
    line = [min(ends), max(ends)]
    figure.add_scatter(x=line, y=line, mode="lines", name="equal", line={"dash": "dot"})
    figure.update_layout(title="Predicted against measured")
    figure.update_xaxes(type="log", title="measured, ms")
    figure.update_yaxes(type="log", title="predicted, ms")
    return figure


def drift(samples: Sequence[Sample], reference: str, workload: Workload) -> go.Figure:
    """The reference over time, one line a process: a slow machine shows here, a slow model does not."""
    figure = go.Figure()
    seen = [sample for sample in samples if sample.key == reference and sample.workload == workload]
    start = min((sample.taken_at for sample in seen), default=0.0)
    for process in sorted({sample.process for sample in seen}):
        mine = [sample for sample in seen if sample.process == process]
        figure.add_scatter(
            x=[sample.taken_at - start for sample in mine],
            y=[sample.milliseconds for sample in mine],
            mode="lines+markers",
            name=f"process {process + 1}",
        )
    figure.update_layout(title="Drift of the machine: the reference in every round, as clocked")
    figure.update_xaxes(title="seconds since the first sample")
    figure.update_yaxes(title="ms", rangemode="tozero")
    return figure


def noise(measurements: Measurements, workload: Workload) -> go.Figure:
    """How far the processes disagree about each model, in percent."""
    floors = [found.noise_floor_percent for (_, at), found in measurements.items() if at == workload]
    figure = go.Figure(go.Histogram(x=floors, nbinsx=40))
    figure.update_layout(title=f"Noise floor of each model, median {np.median(floors):.2f} %")
    figure.update_xaxes(title="standard deviation of the process medians, %")
    figure.update_yaxes(title="models")
    return figure


def model_table(plan: Plan, measurements: Measurements, workload: Workload) -> tuple[list[str], list[list[object]]]:
    """Headers and rows of every measurement in one workload."""
    found = sorted((m for (_, at), m in measurements.items() if at == workload), key=lambda m: -m.p50_ms)
    headers = ["model", "used for", "p50 ms", "p90 ms", "noise floor %", "samples"]
    return headers, [
        [m.key, "check" if m.key in plan.check else "fit", m.p50_ms, m.p90_ms, m.noise_floor_percent, m.samples]
        for m in found
    ]


def _text(value: Any) -> object:
    if isinstance(value, dict):
        return ", ".join(f"{name} {part}" for name, part in value.items())
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else value
