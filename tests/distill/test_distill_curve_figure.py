"""The drawn curve shows every point, and where the kept state is."""

from pathlib import Path

import pytest

from distill.curve import Point
from distill.curve_figure import Learnt, curve_figure, read_learnt
from runs.errors import UserError

POINTS = [Point(100, 0.5, 0.7, 0.3), Point(200, 0.2, 0.9, 0.1), Point(230, 0.1, 0.8, 0.2)]


def test_every_quantity_has_its_part() -> None:
    figure = curve_figure(Learnt(POINTS, 200), "accuracy")
    found = {trace.name: (list(trace.x), list(trace.y)) for trace in figure.data}
    steps = [100, 200, 230]
    assert found == {
        "score": (steps, [0.7, 0.9, 0.8]), "divergence": (steps, [0.3, 0.1, 0.2]), "loss": (steps, [0.5, 0.2, 0.1])
    }  # fmt: skip
    assert len({trace.yaxis for trace in figure.data}) == 3
    assert {(line.x0, line.x1) for line in figure.layout.shapes} == {(200, 200)} and len(figure.layout.shapes) == 3
    titles = [note.text for note in figure.layout.annotations]
    assert titles == ["accuracy on validation", "divergence from the teacher", "training loss"]


def test_a_folder_without_a_curve_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="learning curve .* does not exist"):
        read_learnt(tmp_path)
