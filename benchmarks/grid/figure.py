"""A table of the guideline as a picture: how far each arm is from the first, by task and over all, with intervals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor

from protocol import Interval

COLOURS = ("#3b6fb6", "#c2571a", "#2e8540", "#8a5aa8", "#8c6d1f", "#4d7c8a")
"""Of tasks; the mean over them is black."""

LEFT, RIGHT, TOP, LINE, GAP, BOTTOM = 190, 24, 34, 9, 13, 34
"""Pixels: for names, at the right edge, for the legend, of each interval, between arms, for the scale."""

WIDTH = 760
INK, FAINT = "#222222", "#bbbbbb"
STYLE = 'font-family="Helvetica, Arial, sans-serif" font-size="12"'


@dataclass(frozen=True)
class Scale:
    """Points of 100 → pixels."""

    low: float
    high: float

    def x(self, points: float) -> float:
        """Where a number stands."""
        return LEFT + (points - self.low) / (self.high - self.low) * (WIDTH - LEFT - RIGHT)


def scale_of(intervals: Sequence[Interval]) -> Scale:
    """Whole points around all intervals and 0."""
    return Scale(min(-1, floor(min(one.low for one in intervals))), max(1, ceil(max(one.high for one in intervals))))


def forest(title: str, tasks: Sequence[str], arms: Mapping[str, Mapping[str, Interval]], base: str) -> str:
    """An SVG of arms in their order; each has intervals by task, and by "mean" where there are several tasks.

    Filled dots are decided: their interval leaves out 0.
    """
    scale = scale_of([one for found in arms.values() for one in found.values()])
    names = [*tasks, "mean"]
    row = LINE * len(names) + GAP
    height = TOP + row * len(arms) + BOTTOM
    colours = {**dict(zip(tasks, COLOURS * len(tasks), strict=False)), "mean": INK}
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'role="img" aria-label="{escape(title)}" {STYLE}>',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        *_legend(names, colours),
        *_grid(scale, TOP, height - BOTTOM, base),
    ]
    for place, (arm, found) in enumerate(arms.items()):
        top = TOP + row * place + GAP / 2
        middle = top + LINE * len(names) / 2
        parts.append(f'<text x="{LEFT - 10}" y="{middle + 4:.1f}" text-anchor="end" fill="{INK}">{escape(arm)}</text>')
        for line, name in enumerate(names):
            if name in found:
                parts += _whisker(found[name], scale, top + LINE * (line + 0.5), colours[name], name == "mean")
    return "\n".join([*parts, "</svg>", ""])


def _legend(names: Sequence[str], colours: Mapping[str, str]) -> list[str]:
    parts, x = [], float(LEFT)
    for name in names:
        parts.append(f'<circle cx="{x + 5:.0f}" cy="15" r="4" fill="{colours[name]}"/>')
        parts.append(f'<text x="{x + 14:.0f}" y="19" fill="{INK}">{escape(name)}</text>')
        x += 30 + 7.5 * len(name)
    return parts


def _grid(scale: Scale, top: float, bottom: float, base: str) -> list[str]:
    span = scale.high - scale.low
    step = next(step for step in (1, 2, 5, 10, 20, 50) if span / step <= 10)
    parts = []
    for points in range(ceil(scale.low / step) * step, floor(scale.high) + 1, step):
        x, colour = scale.x(points), INK if points == 0 else FAINT
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{bottom}" stroke="{colour}" stroke-width="0.7"/>')
        number = f"{points:+d}" if points else "0"
        parts.append(f'<text x="{x:.1f}" y="{bottom + 14}" text-anchor="middle" fill="{INK}">{number}</text>')
    said = f"points of accuracy on validation beside “{base}”"
    parts.append(f'<text x="{WIDTH - RIGHT}" y="{bottom + 29}" text-anchor="end" fill="{INK}">{escape(said)}</text>')
    return parts


def _whisker(found: Interval, scale: Scale, y: float, colour: str, bold: bool) -> list[str]:
    low, mean, high = (scale.x(value) for value in (found.low, found.mean, found.high))
    width, radius = (2.2, 3.6) if bold else (1.2, 2.8)
    fill = colour if found.decided else "white"
    return [
        f'<line x1="{low:.1f}" x2="{high:.1f}" y1="{y:.1f}" y2="{y:.1f}" stroke="{colour}" stroke-width="{width}"/>',
        f'<circle cx="{mean:.1f}" cy="{y:.1f}" r="{radius}" fill="{fill}" stroke="{colour}" stroke-width="{width}"/>',
    ]
