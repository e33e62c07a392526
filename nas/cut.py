"""A student that came out slightly too slow loses a few neurons and heads, rather than all it has learnt."""

from dataclasses import replace
from typing import Any

from distill.lesson import needs_teacher_inside
from nas.budget import Budget
from nas.candidates import measuring_beside_teacher
from nas.context import Context
from nas.filling import lighten
from nas.finalists import Finalist, margin_on
from nas.full_distillation import distilled
from students.spec import TransformerLayer


def lighter_stage(budget: Budget) -> str:
    """Name of the stage in which a student that is slightly too slow is cut."""
    return f"{budget.label} lighter"


def lighter(context: Context, budget: Budget, finalist: Finalist, measured_ms: float) -> dict[str, Any]:
    """A measured part of a student that took `measured_ms`, slightly too long; it starts from what that has learnt.

    JSON-able, as `nas.candidates.finalists_of` reads it. No finalist where no part was measured within the budget,
    where it has layers that cannot be cut, and where the recipe looks inside the teacher: what it looks through is not
    kept, and would have to be learnt first.
    """
    scoring = context.ground.scoring(budget)
    spec = finalist.candidate.spec
    cuttable = spec.sharing is None and all(isinstance(layer, TransformerLayer) for layer in spec.layers)
    if not cuttable or needs_teacher_inside(context.recipe.terms):
        return {"finalists": []}
    margin = margin_on(scoring.disturbance)
    with measuring_beside_teacher(context, budget) as measure:
        found = lighten(finalist, measured_ms, budget, measure, scoring.smaller, margin)
    if found is None:
        return {"finalists": []}
    folder = distilled(context, budget, finalist)["folder"]
    return {"finalists": [replace(found, cut_from=folder).to_json()]}
