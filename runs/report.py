"""The report kit: text, tables and figures into one HTML file that needs nothing else, not even a network."""

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import Any, ClassVar

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.graph_objects import Figure
from plotly.io import to_html
from plotly.offline import get_plotlyjs

from runs.files import write_bytes_atomic

TEMPLATES = Environment(
    loader=PackageLoader("runs", ""), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
)


@dataclass(frozen=True)
class _Text:
    text: str
    kind: ClassVar[str] = "text"


@dataclass(frozen=True)
class _Cell:
    text: str
    number: bool


@dataclass(frozen=True)
class _Table:
    headers: tuple[str, ...]
    rows: tuple[tuple[_Cell, ...], ...]
    kind: ClassVar[str] = "table"


@dataclass(frozen=True)
class _Figure:
    html: Markup
    kind: ClassVar[str] = "figure"


class Report:
    """Collects parts in the order they are to be read; the same parts always make the same bytes."""

    def __init__(self, title: str) -> None:
        self.title = title
        self._parts: list[_Text | _Table | _Figure] = []

    def text(self, text: str) -> None:
        """A paragraph of plain text; HTML in it is shown, not obeyed."""
        self._parts.append(_Text(text))

    def table(self, headers: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """A table; columns of numbers stand to the right, floats have four significant digits, None is a dash."""
        for row in rows:
            if len(row) != len(headers):
                raise ValueError(f"a row of {len(row)} cells under {len(headers)} headers")
        figures = [all(value is None or _is_number(value) for value in column) for column in zip(*rows, strict=True)]
        cells = tuple(
            tuple(_Cell(_shown(value), number) for value, number in zip(row, figures, strict=True)) for row in rows
        )
        self._parts.append(_Table(tuple(headers), cells))

    def figure(self, figure: Figure) -> None:
        """A plotly figure, kept interactive."""
        number = sum(isinstance(part, _Figure) for part in self._parts) + 1
        html = to_html(figure, full_html=False, include_plotlyjs=False, div_id=f"figure-{number}")
        self._parts.append(_Figure(Markup(html)))

    def write(self, path: Path) -> None:
        """Write the report as one file; a reader sees the old one or the whole new one."""
        has_figure = any(isinstance(part, _Figure) for part in self._parts)
        plotly_js = Markup(get_plotlyjs()) if has_figure else None
        template: Any = TEMPLATES.get_template("report.html.jinja")
        html: str = template.render(title=self.title, parts=self._parts, plotly_js=plotly_js)
        write_bytes_atomic(path, html.encode())


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _shown(value: object) -> str:
    if value is None:
        return "–"
    if not _is_number(value) or isinstance(value, Integral):
        return str(value)
    assert isinstance(value, Real)
    number = float(value)
    return f"{number:,.0f}" if abs(number) >= 10_000 else f"{number:.4g}"
