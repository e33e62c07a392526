"""`docs/benchmarks/search.md`: searched students beside shapes made by hand, from the stored cells alone."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from grid.teaching import from_text
from protocol import paired_bootstrap, score_table

from students.shape_text import shape_text
from students.spec import StudentSpec

BY_HAND = "by hand: "
BEST = "best by hand"
RANDOM = "random"

READING = """\
Test accuracy of students that fill a budget, in percent, the mean over seeds. *Best by hand* is the one of the
published shapes, each made as wide as the budget holds, that has the best mean on validation; it stands first, and the
last column has each method minus it, with the 95 % interval of a paired bootstrap over examples and seeds. All are cut
from the same teacher and distilled by the same recipe for as many steps, but for `autotinybert`, whose students go on
from its supernet. Latencies are a profile's, on the machine as disturbed as it usually was, so that every method is
held against the same clock. *Seconds* are of one thread while the machine was busy: search, and full distillation of
the winner; *steps* likewise, a supernet's counted once for all the parts that learn in it."""

Cells = Mapping[str, Mapping[int, Mapping[str, Any]]]
"""How a student came to be → its seeds."""


def cells_of(one: Mapping[str, Any], budget: str) -> Cells:
    """What is there of a budget, by method or shape."""
    found: dict[str, dict[int, Mapping[str, Any]]] = {}
    for place, cell in one["cells"].items():
        at, how, seed = place.split("/")
        if at == budget:
            found.setdefault(how, {})[int(seed)] = cell
    return found


def best_by_hand(cells: Cells) -> str | None:
    """The hand-made shape with the best mean on validation; of equals the one with more seeds, then the first."""
    shapes = {how: found for how, found in cells.items() if how.startswith(BY_HAND)}
    both = _common(shapes)
    return max(shapes, key=lambda how: _validation(shapes[how], both), default=None)


def _common(cells: Cells) -> list[int]:
    """Seeds that all have."""
    return sorted(set.intersection(*map(set, cells.values()))) if cells else []


def _validation(cells: Mapping[int, Mapping[str, Any]], seeds: Sequence[int] = ()) -> float:
    return float(np.mean([cells[seed]["validation"] for seed in seeds or cells]))


def section(task: str, budget: str, one: Mapping[str, Any]) -> list[str]:
    """Markdown of one task and budget."""
    cells = cells_of(one, budget)
    best = best_by_hand(cells)
    methods = {how: found for how, found in cells.items() if not how.startswith(BY_HAND)}
    # Seeds are paired, so only those count that all have.
    seeds = _common({how: cells[how] for how in (*methods, *([best] if best else []))})
    if not seeds:
        return [f"### {task}, {budget} ms", "", "No seed is there of all methods yet.", ""]

    first = best or next(iter(methods))
    references = [one["references"][cells[first][seed]["weights"]]["test"] for seed in seeds]
    count = references[0]["examples"]

    def right(how: str) -> Any:
        return np.stack([from_text(cells[how][seed]["right"], count) for seed in seeds])

    # Where no hand-made shape is so fast, the first method stands first.
    scores = {f"{BEST} ({best.removeprefix(BY_HAND)})": right(best)} if best else {}
    scores |= {how: right(how) for how in methods}
    teacher, words = (
        np.stack([from_text(reference[who], count) for reference in references]) for who in ("teacher", "bag_of_words")
    )
    lines = [f"### {task}, {budget} ms", "", score_table(scores, teacher, words)]
    if RANDOM in methods:
        lines.append("Minus random search: " + ", ".join(
            f"`{how}` {_signed(right(how), right(RANDOM))}" for how in methods if how != RANDOM
        ) + ".")  # fmt: skip
        lines.append("")
    lines += ["| | validation | predicted ms | candidates | steps | seconds | first seed's shape |", "|" + "---|" * 7]
    for how, each in sorted(cells.items(), key=lambda item: -_validation(item[1])):
        found = [each[seed] for seed in sorted(each)]
        ms, tried = np.mean([cell["predicted_ms"] for cell in found]), found[0].get("candidates", "")
        steps, seconds = (
            " + ".join(f"{np.median([cell[what][part] for cell in found]):,.0f}" for part in ("search", "distill"))
            for what in ("steps", "seconds")
        )
        lines.append(
            f"| {how} ({len(found)}) | {100 * _validation(each):.1f} | {ms:.2f} | {tried} | {steps} | {seconds} | "
            f"{shape_text(StudentSpec.from_json(found[0]['spec']))} |"
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
