"""The learning curve drawn: how the student did on validation, what it was taught by, and which state of it is kept."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from distill.curve import CURVE_FILE, Point
from distill.distillation import DISTILLED_FILE
from runs.files import read_json

QUANTITIES = {"score": "{metric} on validation", "divergence": "divergence from the teacher", "loss": "training loss"}
"""Fields of a point → what stands over its part of the picture."""


@dataclass(frozen=True)
class Learnt:
    """What a finished student's folder says of its training."""

    points: Sequence[Point]
    kept_step: int

    @property
    def text(self) -> str:
        """One sentence."""
        return f"The student learnt for {self.points[-1].step} steps and is kept as it was after {self.kept_step}."


def read_learnt(student: Path) -> Learnt:
    """The curve in a student's folder; `UserError` where it is none."""
    points = [Point(**point) for point in read_json(student / CURVE_FILE, "learning curve")]
    return Learnt(points, read_json(student / DISTILLED_FILE, "student's record")["result"]["kept_step"])


def curve_figure(learnt: Learnt, metric: str) -> go.Figure:
    """Score, divergence and training loss by step, one under the other, with a line at the kept step."""
    titles = [text.format(metric=metric) for text in QUANTITIES.values()]
    figure = make_subplots(rows=len(QUANTITIES), shared_xaxes=True, vertical_spacing=0.08, subplot_titles=titles)
    steps = [point.step for point in learnt.points]
    for row, name in enumerate(QUANTITIES, start=1):
        values = [getattr(point, name) for point in learnt.points]
        figure.add_trace(go.Scatter(x=steps, y=values, mode="lines+markers", name=name, showlegend=False), row, 1)
    scores = [point.score for point in learnt.points]
    margin = max(0.01, 0.1 * (max(scores) - min(scores)))
    figure.update_yaxes(range=[min(scores) - margin, max(scores) + margin], row=1)
    figure.add_vline(x=learnt.kept_step, line_dash="dash")
    figure.update_yaxes(rangemode="tozero", row=2)
    figure.update_yaxes(rangemode="tozero", row=3)
    figure.update_xaxes(rangemode="tozero")
    figure.update_xaxes(title_text="optimizer steps; dashed: the state that is kept", row=len(QUANTITIES))
    figure.update_layout(margin={"t": 40, "b": 50})
    return figure
