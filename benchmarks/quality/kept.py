"""The fastest students that keep a share of their teacher, out of the stored cells of a ladder of budgets."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from grid.teaching import from_text
from protocol import Interval, mean_interval, paired_bootstrap

from quality.page import BY_HAND
from students.spec import StudentSpec


@dataclass(frozen=True)
class Kept:
    """A method's students at the smallest budget at which they keep the share on validation, by mean over seeds.

    `right` and `teacher` are right answers on test [seeds, examples]; `spec` is the first seed's.
    """

    how: str
    budget_ms: float
    spec: StudentSpec
    validation: float
    right: Any
    teacher: Any
    words: Any

    @property
    def test(self) -> Interval:
        """Accuracy on test."""
        return mean_interval(self.right)

    @property
    def of_teacher(self) -> float:
        """Share of the teacher's accuracy on test."""
        return float(self.right.mean() / self.teacher.mean())

    @property
    def minus_teacher(self) -> Interval:
        """Accuracy on test less the teacher's."""
        return paired_bootstrap(self.right, self.teacher)


def _answers(one: Mapping[str, Any], cell: Mapping[str, Any], split: str, who: str) -> Any:
    reference = one["references"][cell["weights"]][split]
    return from_text(reference[who], reference["examples"])


def fastest(one: Mapping[str, Any], how: str, share: float) -> Kept | None:
    """The fastest students of a method, or of a hand-made shape, that keep a share of the teacher on validation."""
    by_budget: dict[float, list[Mapping[str, Any]]] = {}
    for place, cell in one["cells"].items():
        budget, name, _ = place.split("/")
        if name == how:
            by_budget.setdefault(float(budget), []).append(cell)
    for budget, cells in sorted(by_budget.items()):
        validation = float(np.mean([cell["validation"] for cell in cells]))
        if validation >= share * np.mean([_answers(one, cell, "validation", "teacher").mean() for cell in cells]):
            right = [from_text(cell["right"], one["references"][cell["weights"]]["test"]["examples"]) for cell in cells]
            teacher, words = (
                np.stack([_answers(one, cell, "test", who) for cell in cells]) for who in ("teacher", "bag_of_words")
            )
            spec = StudentSpec.from_json(cells[0]["spec"])
            return Kept(how, budget, spec, validation, np.stack(right), teacher, words)
    return None


def ladder(one: Mapping[str, Any], how: str) -> dict[float, tuple[float, float]]:
    """Budget → shares of the teacher's accuracy on validation and on test, means over seeds."""
    shares: dict[float, list[tuple[float, float]]] = {}
    for place, cell in one["cells"].items():
        budget, name, _ = place.split("/")
        if name == how:
            teacher = [_answers(one, cell, split, "teacher").mean() for split in ("validation", "test")]
            count = one["references"][cell["weights"]]["test"]["examples"]
            test = from_text(cell["right"], count).mean()
            shares.setdefault(float(budget), []).append((cell["validation"] / teacher[0], test / teacher[1]))
    found = {budget: np.mean(every, axis=0) for budget, every in sorted(shares.items())}
    return {budget: (float(both[0]), float(both[1])) for budget, both in found.items()}


def methods_of(one: Mapping[str, Any]) -> list[str]:
    """All that is there of a task, searched first, shapes made by hand after it."""
    names = {place.split("/")[1] for place in one["cells"]}
    return sorted(names, key=lambda name: (name.startswith(BY_HAND), name))
