"""What a search prepares once for all its budgets, before any candidate is tried: nothing, or a supernet."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from distill.mini import ask_beforehand, untaught
from distill.supernet import caps_of, teach_supernet
from nas.additive import Additive, Part, Skeleton, largest, loss_table, parts_to_try, replaced, skeletons, within_reach
from nas.context import Context
from nas.groundwork import Ground
from nas.supernet_work import growing, parts_of_space, supernet_steps
from runs.registry import Registry
from students.codes import Codes

Preparation = Callable[[Context], dict[str, Any]]

WHOLE = -1
"""In the place of a layer: all of them as large as can be."""

PREPARATIONS: Registry[Preparation] = Registry("preparation")
"""Name → a function of a search's context to what is to be said of it."""


@PREPARATIONS.register("none")
def nothing(context: Context) -> dict[str, Any]:
    """Every candidate is taught for itself."""
    return {}


@PREPARATIONS.register("supernet")
def supernet(context: Context) -> dict[str, Any]:
    """One model of which every member of the space is a part, taught part by part with the method's recipe.

    Where it grows, what it came to is said as well: members are those within its `caps`.
    """
    steps = supernet_steps(context.method, context.effort)
    members = replace(context.ground.members, head=context.ground.head)
    parts = parts_of_space(members)
    assert context.supernet is not None
    teach_supernet(
        context.teacher,
        context.ground.task,
        parts,
        context.method_recipe,
        context.supernet,
        steps=steps,
        sampling=context.method.sampling,
        count=context.method.parts,
        growing=growing(context.method, members, context.settings.parameter_target),
        seed=context.settings.seed,
        progress=context.progress,
    )
    found = {"steps": steps, "parameters": parts.supernet.parameters()}
    caps = caps_of(context.supernet)
    return found if caps is None else {**found, "caps": caps.to_json()}


@PREPARATIONS.register("replaced-parts")
def replaced_parts(context: Context) -> dict[str, Any]:
    """What every choice for a single layer loses, at the recipe's start; each layer's are stored as they are done."""
    space, tryout = context.ground.members.space, context.tryout
    ask_beforehand(tryout.teacher, tryout.task, tryout.recipe, context.progress)
    wanted = reached(context.ground)
    tried = {one: parts_to_try(space, one, context.effort.replaced) for one in wanted}
    # What belongs to no layer is the loss of the largest member.
    stages = {
        (one, slot): [part for part in parts if part[0] == slot]
        for one, parts in tried.items()
        for slot in [WHOLE, *sorted({part[0] for part in parts})]
    }
    work = {stage: len(parts) or 1 for stage, parts in stages.items()}
    done = sum(work[stage] for stage in stages if context.run.result(_replaced_stage(*stage)))
    wholes: dict[Skeleton, float] = {}
    losses: dict[Skeleton, dict[Part, float]] = {one: {} for one in tried}
    with context.progress.task("replacing parts", sum(work.values()), done) as task:

        def loss(codes: Codes) -> float:
            (spec,) = context.ground.members.specs(codes[None])
            score = untaught(context.taught(spec), tryout.teacher, tryout.task, tryout.recipe, tryout.seed)
            task.advance()
            return score.kl

        def replace_parts(skeleton: Skeleton, parts: list[Part]) -> dict[str, Any]:
            students = [replaced(space, skeleton, part) for part in parts] or [largest(space, skeleton)]
            return {"losses": [loss(codes) for codes in students]}

        for (skeleton, slot), parts in stages.items():
            found = context.run.stage(_replaced_stage(skeleton, slot), partial(replace_parts, skeleton, parts))
            if slot == WHOLE:
                (wholes[skeleton],) = found["losses"]
            else:
                losses[skeleton] |= zip(parts, found["losses"], strict=True)
    tables = {one: loss_table(space, one, wholes[one], losses[one]) for one in tried}
    return {"parts": sum(map(len, tried.values())), "tables": Additive(space, tables).to_json()}


def reached(ground: Ground) -> list[Skeleton]:
    """The skeletons in reach of any budget of a search; all where none is."""
    space = ground.members.space
    found = {one for budget in ground.budgets for one in within_reach(space, ground.scoring(budget), budget.latency_ms)}
    return [one for one in skeletons(space) if one in found or not found]


def _replaced_stage(skeleton: Skeleton, slot: int) -> str:
    return f"parts of {'-'.join(map(str, skeleton))}, {'whole' if slot == WHOLE else f'layer {slot}'}"
