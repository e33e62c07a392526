"""Finalists distilled in full: each from the teacher, or on from the student that it was cut from."""

from dataclasses import replace
from typing import Any

from distill.distillation import distil
from export.items import item_key
from nas.budget import Budget
from nas.candidates import finalists_of
from nas.context import Context
from nas.finalists import Finalist

CUT_STEPS, CUT_RATE = 0.2, 0.1
"""Shares of a full distillation's steps and learning rate with which a student that was cut learns to do without."""


def distil_finalists(context: Context, budget: Budget, stored: dict[str, Any]) -> list[Finalist]:
    """Distil as many of the best finalists as the effort says; all of them in the order to deliver.

    Those distilled come first, the best on validation ahead; the rest stand by in the order of their rewards.
    """
    finalists = finalists_of(stored)
    chosen = finalists[: context.effort.distilled]
    scores = [distilled(context, budget, finalist)["validation_score"] for finalist in chosen]
    order = sorted(range(len(chosen)), key=lambda n: (-scores[n], n))
    return [chosen[n] for n in order] + finalists[len(chosen) :]


def distillation_stage(budget: Budget, finalist: Finalist) -> str:
    """Name of the stage in which a finalist is distilled in full."""
    return f"{budget.label} distillation {item_key(finalist.candidate.spec)}"


def distilled(context: Context, budget: Budget, finalist: Finalist) -> dict[str, Any]:
    """The folder (relative to the run's) and validation score of a finalist, distilled in full unless it was."""
    spec = finalist.candidate.spec
    key = item_key(spec)

    def run() -> dict[str, Any]:
        recipe, steps, how = context.recipe, context.full_steps(budget), "in full"
        if finalist.cut_from is not None:
            # Each layer goes on as the same layer of the whole.
            gentle = replace(recipe.optimization, learning_rate=CUT_RATE * recipe.optimization.learning_rate)
            start = str(context.run.path / finalist.cut_from)
            recipe = replace(recipe, initialization=start, layer_map="uniform", optimization=gentle)
            steps, how = max(1, round(CUT_STEPS * steps)), "on from what it was cut from"
        context.progress.say(f"{budget.label}: distilling {key}, measured {finalist.measured_ms:.2f} ms, {how}")
        done = distil(
            context.taught(spec),
            context.teacher,
            context.ground.task,
            recipe,
            context.work_folder(budget.label) / key,
            seed=context.settings.seed,
            progress=context.progress,
            steps=steps,
        )
        folder = done.folder.relative_to(context.run.path)
        return {"folder": str(folder), "validation_score": done.validation_score, "steps": done.steps}

    return context.run.stage(distillation_stage(budget, finalist), run)
