"""`docs/benchmarks/search.md`: searched students beside shapes made by hand, from the stored cells alone."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from grid.teaching import from_text
from protocol import paired_bootstrap, score_table

from students.spec import StudentSpec, transformer_layers

BY_HAND = "by hand: "
BEST = "best by hand"
RANDOM = "random"

READING = """\
Test accuracy of students that fill a budget, in percent, the mean over seeds. *Best by hand* is the one of the
published shapes, each made as wide as the budget holds, that has the best mean on validation; it stands first, and the
last column has each method minus it, with the 95 % interval of a paired bootstrap over examples and seeds. All are cut
from the same teacher and distilled by the same recipe for as many steps, but for `autotinybert`, whose students go on
from its supernet. Latencies are a profile's, on the machine as disturbed as it usually was, so that every method is
held against the same clock. *Seconds* are of one thread while the machine was busy: search, and full distillation."""

Cells = Mapping[str, Sequence[Mapping[str, Any]]]
"""How a student came to be → its seeds in order."""


def cells_of(one: Mapping[str, Any], budget: str) -> Cells:
    """What is there of a budget, by method or shape."""
    found: dict[str, dict[int, Mapping[str, Any]]] = {}
    for place, cell in one["cells"].items():
        at, how, seed = place.split("/")
        if at == budget:
            found.setdefault(how, {})[int(seed)] = cell
    return {how: [cells[seed] for seed in sorted(cells)] for how, cells in found.items()}


def best_by_hand(cells: Cells) -> str | None:
    """The hand-made shape with the best mean on validation; of equals the one with more seeds, then the first."""
    shapes = {how: found for how, found in cells.items() if how.startswith(BY_HAND)}
    return max(shapes, key=lambda how: (_validation(shapes[how]), len(shapes[how])), default=None)


def _validation(cells: Sequence[Mapping[str, Any]]) -> float:
    return float(np.mean([cell["validation"] for cell in cells]))


def shape_of(cell: Mapping[str, Any]) -> str:
    """As in "4×312, heads 12, FFN 1200"; ranges where layers differ."""
    spec = StudentSpec.from_json(cell["spec"])
    layers = transformer_layers(spec, "this page")

    def span(values: list[int]) -> str:
        return str(values[0]) if min(values) == max(values) else f"{min(values)}–{max(values)}"

    heads, ffn = span([layer.heads for layer in layers]), span([layer.ffn_width for layer in layers])
    return f"{len(layers)}×{spec.hidden_width}, heads {heads}, FFN {ffn}"


def section(task: str, budget: str, one: Mapping[str, Any]) -> list[str]:
    """Markdown of one task and budget."""
    cells, reference = cells_of(one, budget), one["references"]["test"]
    best = best_by_hand(cells)
    if best is None:
        return []
    count = reference["examples"]
    seeds = {how: len(found) for how, found in cells.items()}

    def right(how: str, least: int | None = None) -> Any:
        return np.stack([from_text(cell["right"], count) for cell in cells[how][:least]])

    methods = {how: found for how, found in cells.items() if not how.startswith(BY_HAND)}
    # Seeds are paired, so where one side has fewer the other's first ones count.
    least = min(seeds[how] for how in (best, *methods))
    scores = {f"{BEST} ({best.removeprefix(BY_HAND)})": right(best, least)}
    scores |= {how: right(how, least) for how in methods}
    teacher, words = (from_text(reference[who], count) for who in ("teacher", "bag_of_words"))
    lines = [f"### {task}, {budget} ms", "", score_table(scores, teacher, words)]
    if RANDOM in methods:
        lines.append("Minus random search: " + ", ".join(
            f"`{how}` {_signed(right(how, least), right(RANDOM, least))}" for how in methods if how != RANDOM
        ) + ".")  # fmt: skip
        lines.append("")
    lines += ["| | validation | predicted ms | candidates | steps | seconds | first seed's shape |", "|" + "---|" * 7]
    for how, found in sorted(cells.items(), key=lambda item: -_validation(item[1])):
        ms, tried = np.mean([cell["predicted_ms"] for cell in found]), found[0].get("candidates", "")
        steps, seconds = (
            " + ".join(f"{np.median([cell[what][part] for cell in found]):,.0f}" for part in ("search", "distill"))
            for what in ("steps", "seconds")
        )
        lines.append(
            f"| {how} ({len(found)}) | {100 * _validation(found):.1f} | {ms:.2f} | {tried} | {steps} | {seconds} | "
            f"{shape_of(found[0])} |"
        )
    return [*lines, ""]


def _signed(ours: Any, theirs: Any) -> str:
    found = paired_bootstrap(ours, theirs)
    text = f"{100 * found.mean:+.1f} [{100 * found.low:+.1f}, {100 * found.high:+.1f}]"
    return f"**{text}**" if found.decided else text


def page(results: Mapping[str, Mapping[str, Any]]) -> str:
    """The whole page."""
    lines = ["# What a search is worth", "", READING, ""]
    for task, one in results.items():
        budgets = sorted({place.split("/")[0] for place in one["cells"]}, key=float)
        asked = one["asked"]
        if budgets:
            lines += [
                f"## {task}",
                "",
                f"Teacher {one['teacher_name']}, space `{asked['space']}`, effort `{asked['effort']}`, latencies of "
                f"{one['target']}.",
                "",
            ]
        lines += [line for budget in budgets for line in section(task, budget, one)]
    return "\n".join(lines).rstrip() + "\n"
