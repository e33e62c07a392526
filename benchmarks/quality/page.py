"""`docs/benchmarks/search.md`: searched students beside shapes made by hand, from the stored cells alone."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from continued import one_teacher
from grid.teaching import from_text
from protocol import Interval, as_scores, paired_bootstrap, score_table

from students.shape_text import shape_text
from students.spec import StudentSpec, TransformerLayer

BY_HAND = "by hand: "
BEST = "best by hand"
RANDOM = "random"
RANDOM_TWICE = f"{RANDOM}, twice the candidates"
SAID = {RANDOM: "random search", RANDOM_TWICE: "random search with twice the candidates"}
SLOW_ENOUGH = 0.95
"""Share of its teacher's score up to which a hand-made shape leaves something to search for."""

READING = """\
Test accuracy of students that fill a budget, in percent, the mean over seeds. *Best by hand* is the one of the
published shapes, each made as wide as the budget holds, that has the best mean on validation. The first table has each
method minus it, with the 95 % interval of a paired bootstrap over examples and seeds, bold where it leaves out 0. All
are cut from the same teacher and distilled by the same recipe for as many steps, but for `autotinybert`, `pruning` and
`elm`, whose students go on from their supernets, `elm`'s by its own recipe. `integer-programming` and `pruning` search
the space `pruning`, `elm` searches `elm-small`, all others the space named below or after their name. Latencies are a
profile's, on the machine as disturbed as it usually was, so that every method is held against the same clock. *Seconds*
are of one thread while the machine was busy: search, and full distillation of the winner; *steps* likewise, a
supernet's counted once for all the parts that learn in it."""

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


@dataclass(frozen=True)
class Compared:
    """The right answers of one task and budget, for the seeds that all methods and the best hand-made shape have, and
    have from one fitted teacher."""

    best: str | None
    methods: Mapping[str, Any]
    """Method → right answers [seeds, examples]."""
    by_hand: Any
    teacher: Any
    words: Any

    @property
    def first(self) -> tuple[str, Any]:
        """What the others are held against: the hand-made shape, or where none is so fast the first method."""
        if self.best is None:
            return next(iter(self.methods.items()))
        return f"{BEST} ({self.best.removeprefix(BY_HAND)})", self.by_hand


def compared(one: Mapping[str, Any], budget: str, among: Sequence[str] | None = None) -> Compared | None:
    """What is there of a budget, of `among` or of those that have most seeds; None where no seed is there of all."""
    cells = cells_of(one, budget)
    searched = {how: found for how, found in cells.items() if not how.startswith(BY_HAND)}
    most = max(map(len, searched.values()), default=0)
    best, methods = best_by_hand(cells), among or [how for how, found in searched.items() if len(found) == most]
    kept = [*methods, *([best] if best else [])]
    # Seeds are paired, so only those count that all have.
    common = _common({how: cells[how] for how in kept})
    seeds = [seed for seed in common if one_teacher([cells[how][seed] for how in kept])]
    if not seeds:
        return None
    references = [one["references"][cells[kept[0]][seed]["weights"]]["test"] for seed in seeds]
    count = references[0]["examples"]

    def right(how: str) -> Any:
        return np.stack([from_text(cells[how][seed]["right"], count) for seed in seeds])

    teacher, words = (
        np.stack([from_text(reference[who], count) for reference in references]) for who in ("teacher", "bag_of_words")
    )
    return Compared(best, {how: right(how) for how in methods}, right(best) if best else None, teacher, words)


def section(task: str, budget: str, one: Mapping[str, Any]) -> list[str]:
    """Markdown of one task and budget."""
    cells, found = cells_of(one, budget), compared(one, budget)
    if found is None:
        return [f"### {task}, {budget} ms", "", "No seed is there of all methods yet.", ""]
    lines = [f"### {task}, {budget} ms", ""]
    lines.append(score_table(dict([found.first]) | dict(found.methods), found.teacher, found.words))
    for plain in (RANDOM, RANDOM_TWICE):
        if plain in found.methods:
            others = {how: right for how, right in found.methods.items() if how not in (RANDOM, RANDOM_TWICE)}
            minus = ", ".join(f"`{how}` {_signed(right, found.methods[plain])}" for how, right in others.items())
            lines += [f"Minus {SAID[plain]}: {minus}.", ""]
    for whole in found.methods:
        without = {how: right for how, right in found.methods.items() if how.startswith(f"{whole}-")}
        if without:
            minus = ", ".join(f"`{how}` {_signed(found.methods[whole], right)}" for how, right in without.items())
            lines += [f"`{whole}` minus what it is with one thing changed: {minus}.", ""]
    for how in cells:
        fewer = None
        if not how.startswith(BY_HAND) and how not in found.methods and RANDOM in found.methods:
            fewer = compared(one, budget, [RANDOM, how])
        if fewer is not None:
            difference = _signed(fewer.methods[how], fewer.methods[RANDOM])
            seeds = len(fewer.methods[how])
            lines += [f"`{how}` over {seeds} seed{'s' if seeds > 1 else ''} minus {SAID[RANDOM]}: {difference}.", ""]
    mixed = [_types(how, each) for how, each in cells.items()]
    lines += [line for line in mixed if line]
    lines += ["| | validation | predicted ms | M weights | candidates | steps | seconds | first seed's shape |"]
    lines += ["|" + "---|" * 8]
    for how, each in sorted(cells.items(), key=lambda item: -_validation(item[1])):
        row = [each[seed] for seed in sorted(each)]
        ms, tried = np.mean([cell["predicted_ms"] for cell in row]), row[0].get("candidates", "")
        steps, seconds = (
            " + ".join(f"{np.median([cell[what][part] for cell in row]):,.0f}" for part in ("search", "distill"))
            for what in ("steps", "seconds")
        )
        specs = [StudentSpec.from_json(cell["spec"]) for cell in row]
        weights = np.mean([spec.parameters() for spec in specs]) / 1e6
        lines.append(
            f"| {how} ({len(row)}) | {100 * _validation(each):.1f} | {ms:.2f} | {weights:.2f} | {tried} | {steps} | "
            f"{seconds} | {shape_text(specs[0])} |"
        )
    return [*lines, ""]


def _types(how: str, cells: Mapping[int, Mapping[str, Any]]) -> str:
    """A line with the layers that a method chose over all seeds, by type; empty where all are transformers."""
    layers = [layer["type"] for cell in cells.values() for layer in cell["spec"]["layers"]]
    counts = {one: layers.count(one) for one in sorted(set(layers), key=lambda one: -layers.count(one))}
    if set(counts) <= {TransformerLayer.type}:
        return ""
    return f"Layers of `{how}`: {', '.join(f'{count} {one}' for one, count in counts.items())}.\n"


def summary(results: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Markdown of all tasks and budgets in a line each: the best hand-made shape, and the methods minus it."""
    rows = {}
    for task, one in results.items():
        for budget in _budgets(one):
            found = compared(one, budget)
            if found is not None and found.best is not None:
                rows[f"{task}, {budget} ms"] = found
    if not rows:
        return []
    methods = list(dict.fromkeys(how for found in rows.values() for how in found.methods))
    lines = ["| | seeds | bag-of-words | best by hand | of teacher | " + " | ".join(methods) + " |"]
    lines.append("|" + "---|" * (5 + len(methods)))
    for name, found in rows.items():
        words, by_hand, teacher = (float(right.mean()) for right in (found.words, found.by_hand, found.teacher))
        gains = [_signed(found.methods[how], found.by_hand) if how in found.methods else "" for how in methods]
        scores = f"{100 * words:.1f} | {100 * by_hand:.1f} | {100 * by_hand / teacher:.1f}"
        lines.append(f"| {name} | {len(found.by_hand)} | {scores} | {' | '.join(gains)} |")
    left = [found for found in rows.values() if found.by_hand.mean() <= SLOW_ENOUGH * found.teacher.mean()]
    where = f"Mean gain over the {len(left)} where the hand-made shape keeps 95 % of the teacher or less"
    lines += _pooled(where, left, methods, lambda found: found.by_hand)
    searched = [how for how in methods if how not in SAID]
    for plain in SAID:
        # Not all methods were tried everywhere: those that were in the same places stand together.
        together: dict[tuple[str, ...], list[str]] = {}
        for how in searched:
            places = tuple(name for name, found in rows.items() if {plain, how} <= set(found.methods))
            together.setdefault(places, []).append(how)
        for places, hows in together.items():
            over = f"Mean over the {len(places)} ({'; '.join(places)}) minus {SAID[plain]}"
            lines += _pooled(over, [rows[name] for name in places], hows, partial(_of_method, plain))
    return [*lines, ""]


def _of_method(how: str, found: Compared) -> Any:
    return found.methods[how]


def _pooled(said: str, rows: Sequence[Compared], methods: Sequence[str], other: Callable[[Compared], Any]) -> list[str]:
    """A paragraph of means over comparisons, of the methods that all of them have, minus what `other` takes of each."""
    shared = [how for how in methods if rows and all(how in found.methods for found in rows)]
    if not shared:
        return []
    means = {how: mean_of([(found.methods[how], other(found)) for found in rows]) for how in shared}
    return ["", f"{said}: {', '.join(f'`{how}` {_said(gain)}' for how, gain in means.items())}."]


def mean_of(pairs: Sequence[tuple[Any, Any]], draws: int = 4000) -> Interval:
    """The mean over comparisons of ours minus theirs, each [seeds, examples], with its interval at 95 %.

    Every comparison's seeds and examples are drawn again for themselves.
    """
    rng, means = np.random.default_rng(0), np.zeros(draws)
    for ours, theirs in pairs:
        gain = as_scores(ours) - as_scores(theirs)
        seeds, examples = gain.shape
        for draw in range(draws):
            drawn = gain[rng.integers(seeds, size=seeds)].mean(axis=0)
            means[draw] += drawn[rng.integers(examples, size=examples)].mean() / len(pairs)
    low, high = np.quantile(means, [0.025, 0.975])
    return Interval(
        float(np.mean([np.mean(ours) - np.mean(theirs) for ours, theirs in pairs])), float(low), float(high)
    )


def _budgets(one: Mapping[str, Any]) -> list[str]:
    return sorted({place.split("/")[0] for place in one["cells"]}, key=float)


def _signed(ours: Any, theirs: Any) -> str:
    return _said(paired_bootstrap(ours, theirs))


def _said(found: Interval) -> str:
    text = f"{100 * found.mean:+.1f} [{100 * found.low:+.1f}, {100 * found.high:+.1f}]"
    return f"**{text}**" if found.decided else text


def page(results: Mapping[str, Mapping[str, Any]]) -> str:
    """The whole page."""
    lines = ["# What a search is worth", "", READING, "", *summary(results)]
    for task, one in results.items():
        budgets, asked = _budgets(one), one["asked"]
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
