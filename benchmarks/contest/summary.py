"""What a run over several shapes comes to: medians over shapes, and the bars it has to pass."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from contest.ratios import Ratio, median_ratio

DELIVERED = "ours-fused"
"""`student.ort.onnx` with dynamic axes, as optimum's files have them."""
FIXED = "ours-fused-fixed"
"""The same for one length, as OpenVINO's compiled model is."""

MEDIAN_BARS = {f"{DELIVERED} / optimum": 0.97, f"{DELIVERED}-int8 / optimum": 0.95}
"""Ratio → the most that its median over the shapes may be."""

SHAPE_BARS = {
    "minilm-l6-h384": {f"{FIXED} / openvino": 1.03, f"{FIXED} / floor": 1 / 0.85, f"{DELIVERED}-int8 / fp32": 1 / 2.4},
    "tinybert-4": {f"{FIXED} / openvino": 1.03, f"{FIXED} / floor": 1 / 0.85, f"{DELIVERED}-int8 / fp32": 1 / 2.0},
}
"""Shape → ratio → the most it may be. The floor's says that 85 % of the time goes into products."""


def _ratio(value: Mapping[str, Any]) -> Ratio:
    return Ratio(value["ratio"], value["low"], value["high"], tuple(value["processes"]))


def _verdict(ratio: Ratio, most: float) -> dict[str, Any]:
    return {**ratio.to_json(), "at_most": most, "reached": ratio.ratio <= most}


def summarise_shapes(results: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Ratios' medians over the shapes that have them, the bars, and each shape's milliseconds and ratios."""
    names = list(dict.fromkeys(name for result in results.values() for name in result["ratios"]))
    medians = {
        name: median_ratio([_ratio(result["ratios"][name]) for result in results.values() if name in result["ratios"]])
        for name in names
    }
    bars = {
        f"median of {len(results)} shapes: {name}": _verdict(medians[name], most)
        for name, most in MEDIAN_BARS.items()
        if name in medians
    }
    for shape, wanted in SHAPE_BARS.items():
        found = results[shape]["ratios"] if shape in results else {}
        bars |= {
            f"{shape}: {name}": _verdict(_ratio(found[name]), most) for name, most in wanted.items() if name in found
        }
    return {
        "fingerprint": next(iter(results.values()))["settings"]["fingerprint"] if results else {},
        "bars": bars,
        "medians": {name: ratio.to_json() for name, ratio in medians.items()},
        "shapes": {shape: _shape(result) for shape, result in results.items()},
    }


def _shape(result: Mapping[str, Any]) -> dict[str, Any]:
    rows = result["contenders"]
    return {
        "milliseconds": {name: round(row["p50_ms"], 4) for name, row in rows.items()},
        "noise_floor_percent": float(np.median([row["noise_floor_percent"] for row in rows.values()])),
        "ratios": {
            name: {key: one[key] for key in ("against", "ratio", "low", "high")}
            for name, one in result["ratios"].items()
        },
        "refused": result["refused"],
    }
