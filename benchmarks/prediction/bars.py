"""What the figures have to reach, and whether they do."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from prediction.evaluation import OURS
from prediction.figures import JUDGED, TRUTHS


@dataclass(frozen=True)
class Bar:
    """A limit on one figure."""

    figure: str
    limit: float
    at_most: bool

    def reached(self, value: float) -> bool:
        """Whether a value is on the right side."""
        return value <= self.limit if self.at_most else value >= self.limit


TIGHT = (
    Bar("mape_percent", 2.5, True),
    Bar("within_5_percent", 92.0, False),
    Bar("within_10_percent", 98.0, False),
    Bar("kendall", 0.97, False),
)
USUAL = (Bar("mape_percent", 4.0, True), Bar("within_10_percent", 96.0, False))
GPU = (Bar("within_10_percent", 96.0, False),)
INTERVAL = (Bar("interval_90_holds_percent", 86.0, False), Bar("interval_90_holds_percent", 94.0, True))

BARS: dict[tuple[str, str], tuple[Bar, ...]] = {
    ("onnxruntime", "fp32"): TIGHT + INTERVAL,
    ("onnxruntime", "int8"): USUAL + INTERVAL,
    ("openvino", "fp32"): USUAL + INTERVAL,
    ("openvino", "int8"): USUAL + INTERVAL,
    ("cpu", "fp32"): USUAL + INTERVAL,
    ("cpu", "int8"): USUAL + INTERVAL,
    ("cuda", "fp32"): GPU + INTERVAL,
    ("cuda", "bf16"): GPU + INTERVAL,
    ("cuda", "fp16"): GPU + INTERVAL,
}
"""Target and precision → the bars of its random students; what is not named here is measured without one."""

NAMED = Bar("worst_percent", 10.0, True)
PROFILE_MINUTES = Bar("profile_minutes", 12.0, True)
AGAIN = Bar("median_percent", 2.0, True)
ADAPTED = Bar("over_full", 1.5, True)


def _line(what: str, bar: Bar, values: Mapping[str, float]) -> dict[str, Any]:
    """A bar is met by the undisturbed latency, which is what is predicted; the clock's stands beside it."""
    return {
        "what": what,
        "figure": bar.figure,
        "limit": bar.limit,
        "at_most": bar.at_most,
        **values,
        "met": bar.reached(values[JUDGED]),
    }


def bar_lines(result: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Every bar that a target's result can be held against."""
    for precision, found in result["precisions"].items():
        about = f"{result['target']} {precision}"
        for bar in BARS.get((result["target"], precision), ()) if found["random"] else ():
            values = {truth: found["random"][truth][OURS][bar.figure] for truth in TRUTHS}
            yield _line(f"{about}: random students", bar, values)
        if found["named"]:
            values = {truth: found["named"][truth][OURS][NAMED.figure] for truth in TRUTHS}
            yield _line(f"{about}: every named shape", NAMED, values)
    yield _line(f"{result['target']}: profile", PROFILE_MINUTES, {JUDGED: result["profile"]["seconds"] / 60})
    for name, found in result["adaptation"].items():
        if found["over_full"] is not None:
            yield _line(f"{name}: 20 samples over the full profile", ADAPTED, {JUDGED: found["over_full"]})
    if result["again"]:
        yield _line(f"{result['target']}: two profiles", AGAIN, {JUDGED: result["again"][AGAIN.figure]})
