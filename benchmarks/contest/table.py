"""The results for people: one Markdown table a precision, milliseconds and ratios by shape."""

from collections.abc import Mapping
from typing import Any

from contest.summary import DELIVERED, FIXED

COLUMNS = {
    "fp32": (("optimum", DELIVERED), ("openvino", FIXED), ("floor", FIXED)),
    "int8": (("optimum", f"{DELIVERED}-int8"), ("openvino", f"{FIXED}-int8"), ("fp32", f"{DELIVERED}-int8")),
}
"""Precision → (whom, which file of ours is compared with it)."""


def _cells(result: Mapping[str, Any], columns: tuple[tuple[str, str], ...]) -> list[str]:
    rows, ratios = result["contenders"], result["ratios"]
    own = f"{rows[columns[0][1]]['p50_ms']:.2f}"
    cells = [own]
    for rival, ours in columns:
        found = ratios.get(f"{ours} / {rival}")
        if found is None:
            cells += ["–", "–"]
            continue
        against = found["against"]
        cells.append(f"{rows[against]['p50_ms']:.2f} ({against})")
        cells.append(f"{found['ratio']:.3f} [{found['low']:.3f}, {found['high']:.3f}]")
    return cells


def contest_tables(results: Mapping[str, Mapping[str, Any]]) -> str:
    """Both tables; of a rival the fastest file is shown, and its name. Milliseconds are medians over the processes.

    Towards optimum and fp32 ours has dynamic axes, towards OpenVINO and the floor, which are made for one length, it is
    made for that length too.
    """
    parts = []
    for precision, columns in COLUMNS.items():
        heads = ["shape", "ours ms", *(head for rival, _ in columns for head in (f"{rival} ms", f"ours / {rival}"))]
        lines = [f"### {precision}", "", f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
        lines += [f"| {' | '.join([shape, *_cells(result, columns)])} |" for shape, result in results.items()]
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"
