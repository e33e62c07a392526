"""The search proper: candidates proposed by the controller and tried by the proxy, each a trial on disk; then timed."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from math import inf, isfinite
from typing import Any

import numpy as np

from devices.target import open_target
from distill.mini import ask_beforehand
from export.items import Item, item_key
from nas.additive import Additive, additive_from_json
from nas.budget import Budget
from nas.context import PREPARED, STUDY_FILE, Context
from nas.controllers import CONTROLLERS, Problem
from nas.earlier_trials import trials_before
from nas.filling import fill
from nas.finalists import Candidate, Finalist, MeasureSpecs, choose_finalists, finalist_from_json, margin_on
from nas.limits import file_form
from nas.memory import spec_memory
from nas.proxies import PROXIES
from nas.scoring import Scoring
from nas.study import Code, Outcome, open_study, run_trials
from runs.errors import UserError
from students.spec import StudentSpec


def try_candidates(context: Context, budget: Budget) -> dict[str, Any]:
    """Run the method's episodes for one budget: every trial, and what the controller reports, JSON-able."""
    scoring, effort, method = context.ground.scoring(budget), context.effort, context.method
    members, proxy = scoring.members, PROXIES[context.method.proxy]
    earlier = tuple((trials.codes, trials.rewards) for trials in context.ground.earlier_trials)
    tryout = replace(context.tryout, space=members.space, known=earlier)
    problem = Problem(
        members.space,
        scoring,
        budget.latency_ms,
        effort.pool_size,
        exploration_step=effort.exploration_step,
        parameters=members.parameters,
        additive=_additive(context),
    )
    controller = CONTROLLERS[method.controller](problem, context.settings.seed)
    if controller.learns:
        for trials in trials_before(context.run, context.ground.budgets, budget, context.ground.earlier_trials):
            controller.learn(trials.codes, trials.rewards)
    episodes = effort.further_episodes if controller.lessons else effort.episodes

    def attempt(code: Code) -> Outcome:
        row = np.array([code], dtype=np.int64)
        latency, upper = (float(values[0]) for values in scoring(row))
        score = proxy(context.taught(members.specs(row)[0]), tryout)
        reward = method.reward(score.loss, latency, context.teacher_ms[budget.workload.precision])
        details = {"ms": latency, "upper_ms": upper, "normalised_loss": score.loss, **score.details}
        return Outcome(reward, _finite({**details, "seconds": score.seconds}))

    ask_beforehand(tryout.teacher, tryout.task, tryout.recipe, context.progress)
    study = open_study(context.run.path / STUDY_FILE, budget.label)
    genes = list(zip(members.space.genes, members.space.cardinalities, strict=True))
    label = f"{budget.label}: {_how(context)}"
    tried = run_trials(study, controller, genes, episodes, context.candidates, attempt, context.progress, label)
    if not tried:
        raise UserError(f"the space {members.space.name} has no member to try within {budget.label}.")
    best = max(tried, key=lambda trial: trial.reward)
    context.progress.say(
        f"{budget.label}: tried {len(tried)} candidates; the best reward is {best.reward:.4f} (trial {best.number})"
    )
    return {"trials": [asdict(trial) for trial in tried], "episodes": controller.report()}


def _additive(context: Context) -> Additive | None:
    """What the method's preparation found that parts lose, if it looked for that."""
    tables = (context.run.result(PREPARED) or {}).get("tables")
    return None if tables is None else additive_from_json(context.ground.members.space, tables)


def _how(context: Context) -> str:
    if context.method.foretells:
        return "foretelling candidates"
    if context.method.teaches:
        return "mini-distilling candidates"
    return "judging what candidates start from" if context.supernet is None else "judging parts of the supernet"


def _finite(values: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in values.items() if isfinite(value)}


def time_finalists(context: Context, budget: Budget, searched: dict[str, Any]) -> dict[str, Any]:
    """Time the best candidates on the target and keep those that fit, trimmed where they must be, JSON-able.

    The fastest member of the space stands last in line, so that a budget that can be met is.

    Raises:
        UserError: none of the candidates was measured within the budget.
    """
    scoring = context.ground.scoring(budget)
    ranked = rank_candidates(scoring, searched)
    fastest = scoring.fastest(context.settings.seed)
    if fastest.codes not in {candidate.codes for candidate in ranked}:
        ranked.append(fastest)
    wanted = context.effort.finalists
    context.progress.say(f"{budget.label}: timing the {min(wanted, len(ranked))} best on {context.ground.target}")
    margin = margin_on(scoring.disturbance)
    with measuring_beside_teacher(context, budget) as measure:
        finalists = choose_finalists(ranked, wanted, budget, measure, scoring.smaller, margin)
        chosen = finalists[: context.effort.distilled]
        filled = [fill(finalist, budget, measure, scoring.larger, margin) for finalist in chosen]
    if not finalists:
        raise UserError(
            f"none of {len(ranked)} candidates was measured within {budget.label} on {context.ground.target}: close "
            "other programs and run the same command again, or give a larger budget."
        )
    grown: list[Finalist] = []
    before: list[Finalist] = []
    for finalist, larger in zip(chosen, filled, strict=True):
        if larger.candidate.codes in {other.candidate.codes for other in [*finalists, *grown]}:
            grown.append(finalist)
            continue
        context.progress.say(
            f"{budget.label}: a finalist of {finalist.measured_ms:.2f} ms grew by {larger.candidate.filled} steps to "
            f"{larger.measured_ms:.2f} ms"
        )
        grown.append(larger)
        # What it grew from stands by, in case it comes out too slow after all.
        before.append(finalist)
    standing_by = [*before, *finalists[context.effort.distilled :]]
    return {"finalists": [finalist.to_json() for finalist in [*grown, *standing_by]]}


def further_finalists(context: Context, budget: Budget, failed: Finalist) -> dict[str, Any]:
    """Measured neighbours of a finalist that came out over the budget after all, the largest first, JSON-able."""
    scoring, candidate = context.ground.scoring(budget), failed.candidate
    below = [other for other in scoring.smaller(candidate) if other.predicted_ms < candidate.predicted_ms]
    below.sort(key=lambda other: (-other.predicted_ms, other.codes))
    margin = margin_on(scoring.disturbance)
    with measuring_beside_teacher(context, budget) as measure:
        found = choose_finalists(below, context.effort.finalists, budget, measure, scoring.smaller, margin)
    return {"finalists": [finalist.to_json() for finalist in found]}


def finalists_of(stored: dict[str, Any]) -> list[Finalist]:
    """Read what `time_finalists` gave."""
    return [finalist_from_json(value) for value in stored["finalists"]]


def rank_candidates(scoring: Scoring, searched: dict[str, Any]) -> list[Candidate]:
    """The trials as candidates, best reward first, earlier trials first among equals."""
    trials = sorted(searched["trials"], key=lambda trial: (-trial["reward"], trial["number"]))
    codes = np.array([trial["codes"] for trial in trials], dtype=np.int64)
    return scoring.candidates(codes, [trial["reward"] for trial in trials])


@contextmanager
def measuring_beside_teacher(context: Context, budget: Budget) -> Iterator[MeasureSpecs]:
    """Measures specs as the delivered student will be: beside the teacher, which empties the caches of small ones and
    tells how fast the machine is just then.

    A fast moment is no fast student: one that would use up the whole budget at the teacher's usual pace counts as
    slower than clocked. Up to there the clock is believed, since a machine's pace changes slowly. Specs may have been
    measured before, in another batch: that was another moment.
    """
    kept = 1.0 - margin_on(context.ground.scoring(budget).disturbance)
    usual_ms = context.usual_teacher_ms(budget.workload.precision)

    def measure(specs: Sequence[StudentSpec]) -> list[float]:
        batch = " and ".join(item_key(spec) for spec in specs)
        keys = [f"{item_key(spec)} of {batch}" for spec in specs]
        beside = f"teacher beside {batch}"
        items: dict[str, Item] = {**dict(zip(keys, specs, strict=True)), beside: context.teacher_item}
        timed = context.time(items, budget.workload, crew=crew)
        slower = max(1.0, kept * usual_ms / timed[beside].p50_ms)
        return [
            inf if _too_heavy(context, budget, spec) else timed[key].p50_ms * slower
            for spec, key in zip(specs, keys, strict=True)
        ]

    with context.crew() as crew:
        yield measure


def _too_heavy(context: Context, budget: Budget, spec: StudentSpec) -> bool:
    """Whether a student takes more memory than there is; then no time that it takes keeps the budget."""
    most = context.ground.scoring(budget).limits.memory_bytes
    if most is None:
        return False
    form = file_form(open_target(context.ground.target).artifact, budget.workload)
    return spec_memory(spec, form, budget.workload) > most
