"""`docs/guideline.md`: what each choice was worth, from the stored cells alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from inspect import cleandoc
from math import sqrt
from typing import Any

import numpy as np
from protocol import Interval, mean_interval, paired_bootstrap, score_table

from grid.cells import AS_SHIPPED, STAGES
from grid.figure import forest
from grid.teaching import from_text

Results = Mapping[str, Mapping[str, Any]]
"""Task's short name → what is stored of it."""

SPLIT = "validation"
"""Choices are made on validation; the test split is read for the table of the default recipe alone."""

TITLES = {
    "start": "What to start from",
    "knowledge": "What to teach",
    "matching": "From which layers",
    "length": "How long, and from how much",
    "ahead": "What else to teach in a long run",
    "recipe": "Named recipes",
    "shape": "Wide or deep",
    "default": "The default recipe on the test splits",
}


READING = """\
Every figure is a mean over seeds on the validation split, of students as they are after their last step. The first row
has the score in percent; the others differ from it by so many points, over the seeds that both have, with the 95 %
interval of a paired bootstrap over examples and seeds, bold where it leaves out 0 (in the pictures: full dots). Where
the arm does not say so, steps and batches are the same. *divergence ×*: mean divergence from the teacher over the first
row's (geometric mean over tasks); *seconds*: of training on one thread, the machine busy with another student."""


@dataclass(frozen=True)
class Arm:
    """All seeds of one arm on one task: right answers [seeds, examples], and mean divergence from the teacher."""

    right: Any
    numbers: tuple[int, ...]
    divergence: float
    seconds: float
    steps: int

    @property
    def seeds(self) -> int:
        """How many."""
        return len(self.right)


def arms_of(one: Mapping[str, Any], stage: str, table: str, split: str = SPLIT) -> dict[str, Arm]:
    """What is there of a table on one task, by arm, in the table's order."""
    count = one["references"][split]["examples"]
    found: dict[str, list[Mapping[str, Any]]] = {}
    for cell in one["cells"].values():
        if (cell["stage"], cell["table"]) == (stage, table):
            found.setdefault(cell["arm"], []).append(cell)
    arms = {}
    for name in (name for name in STAGES[stage]()[table] if name in found):
        cells = sorted(found[name], key=lambda cell: int(cell["seed"]))
        arms[name] = Arm(
            np.stack([from_text(cell["right"][split], count) for cell in cells]),
            tuple(int(cell["seed"]) for cell in cells),
            float(np.mean([cell["divergence"] for cell in cells])),
            float(np.median([cell["seconds"] for cell in cells])),
            cells[0]["steps"],
        )
    return arms


def difference(arm: Arm, base: Arm) -> Interval:
    """Arm minus base over the seeds that both have, in points of 100."""
    both = sorted(set(arm.numbers) & set(base.numbers))
    ours, theirs = (one.right[[one.numbers.index(seed) for seed in both]] for one in (arm, base))
    found = paired_bootstrap(ours, theirs)
    return Interval(*(100 * value for value in (found.mean, found.low, found.high)))


def mean_of(parts: Sequence[Interval]) -> Interval:
    """The mean over independent tasks; half-widths add as squares do."""
    mean = sum(part.mean for part in parts) / len(parts)
    low = sqrt(sum((part.mean - part.low) ** 2 for part in parts)) / len(parts)
    high = sqrt(sum((part.high - part.mean) ** 2 for part in parts)) / len(parts)
    return Interval(mean, mean - low, mean + high)


def _signed(found: Interval) -> str:
    text = f"{found.mean:+.1f} [{found.low:+.1f}, {found.high:+.1f}]"
    return f"**{text}**" if found.decided else text


@dataclass(frozen=True)
class Compared:
    """One table: the first arm's, and what each other arm is beside it, by task and, where it has all, as "mean"."""

    base: str
    arms: Mapping[str, Mapping[str, Arm]]
    """Task → arm → its seeds."""
    beside: Mapping[str, Mapping[str, Interval]]
    """Arm → task → points more than the first."""

    @property
    def tasks(self) -> list[str]:
        """Those that have the first arm."""
        return list(self.arms)


def compared(results: Results, stage: str, table: str) -> Compared | None:
    """What there is of a table; None where no task has its first arm."""
    base, *others = STAGES[stage]()[table]
    by_task = {task: arms_of(one, stage, table) for task, one in results.items()}
    by_task = {task: arms for task, arms in by_task.items() if base in arms}
    beside: dict[str, dict[str, Interval]] = {}
    for name in others:
        found = {task: difference(arms[name], arms[base]) for task, arms in by_task.items() if name in arms}
        if len(found) == len(by_task) > 1:
            found["mean"] = mean_of(list(found.values()))
        if found:
            beside[name] = found
    return Compared(base, by_task, beside) if by_task else None


def stage_table(found: Compared, table: str) -> list[str]:
    """Markdown: each arm against the first, task by task and over all; bold where the sign is known."""
    columns = [*found.tasks, *(["mean"] if len(found.tasks) > 1 else [])]
    lines = [
        f"| {table} | " + " | ".join(columns) + " | divergence × | seconds |",
        "|---|" + "---|" * (len(columns) + 2),
    ]
    for name in (found.base, *found.beside):
        pairs = [(arms[name], arms[found.base]) for arms in found.arms.values() if name in arms]
        if name == found.base:
            own = [(mean_interval(arm.right), arm) for arm, _ in pairs]
            cells = [f"{100 * score.mean:.1f} ({arm.seeds} seeds, {arm.steps} steps)" for score, arm in own]
            cells += [""] * (len(columns) - len(cells))
        else:
            cells = [_signed(found.beside[name][task]) if task in found.beside[name] else "–" for task in columns]
        ratio = np.exp(np.mean([np.log(arm.divergence / base.divergence) for arm, base in pairs]))
        seconds = np.mean([arm.seconds for arm, _ in pairs])
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {ratio:.2f} | {seconds:.0f} |")
    return [*lines, ""]


def shipped_table(results: Results, stage: str, table: str) -> list[str]:
    """Markdown of each task's test split, with teacher and bag-of-words."""
    lines = []
    for task, one in results.items():
        arms, reference = arms_of(one, stage, table, "test"), one["references"]["test"]
        if arms:
            teacher, words = (from_text(reference[who], reference["examples"]) for who in ("teacher", "bag_of_words"))
            steps = next(iter(arms.values())).steps
            lines += [f"{task}, {table}, {steps} steps, test split of {reference['examples']:,}:", ""]
            lines += [score_table({f"{table}": arm.right for arm in arms.values()}, teacher, words), ""]
    return lines


def machines(results: Results) -> list[str]:
    """What taught the students, a line each."""
    found = {key: one for result in results.values() for key, one in result.get("machines", {}).items()}
    named = {
        f"{one['processor']}, {one['cores']} cores; "
        + ", ".join(f"{name} {version}" for name, version in one["runtime"].items())
        for one in found.values()
    }
    return [f"Taught on {name}." for name in sorted(named)] + [""] * bool(named)


def page(results: Results, notes: str, figures: str = "guideline") -> dict[str, str]:
    """The whole page as "", and the pictures in it by their names in the folder `figures` beside it.

    `notes` is what a person made of the tables, and stands first.
    """
    made: dict[str, str] = {}
    lines = ["# Which distillation to choose", "", notes.strip(), "", "## The tables", ""]
    lines += [
        READING,
        "",
        "| | " + " | ".join(results) + " |",
        "|---|" + "---|" * len(results),
    ]
    for who in ("teacher", "bag_of_words"):
        cells = []
        for one in results.values():
            reference = one["references"][SPLIT]
            cells.append(f"{100 * from_text(reference[who], reference['examples']).mean():.1f}")
        lines.append(f"| {who.replace('_', '-')} | " + " | ".join(cells) + " |")
    lines += ["", *machines(results)]
    for stage, make in STAGES.items():
        parts: list[str] = []
        for table in make():
            if stage == AS_SHIPPED:
                parts += shipped_table(results, stage, table)
            elif found := compared(results, stage, table):
                parts += stage_table(found, table)
                if found.beside:
                    name = f"{stage}-{table.replace(' ', '-')}.svg"
                    made[name] = forest(f"{TITLES[stage]}, {table}", found.tasks, found.beside, found.base)
                    parts += [f"![Each arm beside {found.base}, {table}]({figures}/{name})", ""]
        if parts:
            lines += [f"### {TITLES[stage]}", "", cleandoc(make.__doc__ or ""), "", *parts]
    return {"": "\n".join(lines).rstrip() + "\n", **made}
