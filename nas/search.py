"""The whole chain: from a budget in milliseconds to verified students, resumable at any moment."""

import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from distill.teachers import prepare_teacher
from nas.budget import Budget
from nas.candidates import finalists_of, time_finalists, try_candidates
from nas.choice import choose
from nas.conclusion import baselines_on_test, conclude
from nas.context import PREPARED, RESULTS, WORK, Context, used_teacher
from nas.cut import lighter_stage
from nas.delivery import Delivered, deliver, export_stage
from nas.device import time_items
from nas.earlier_trials import SPACE, EarlierTrials, trials_from_json
from nas.estimate import Forecast
from nas.front import FRONT, front_of, write_front
from nas.full_distillation import distil_finalists, distillation_stage
from nas.groundwork import Ground, lay_ground
from nas.memory import MemoryModel, memory_model_from_json
from nas.plan import planned
from nas.preparations import PREPARATIONS
from nas.report import REPORT_FILE, write_report
from nas.schedule import EFFORTS
from nas.settings import SearchSettings as SearchSettings
from nas.supernet_work import confined
from runs.errors import UserError
from runs.folder import RunFolder, open_run
from runs.progress import Progress
from students.caps import caps_from_json
from students.space_file import choices_hash

MEMORY = "memory"

EARLIER = "earlier searches"

Verdict = dict[str, Any]


def search(settings: SearchSettings, progress: Progress | None = None) -> list[Verdict]:
    """Search, distil, export and verify one student a budget; the verdicts in the order of the budgets.

    Begins, continues or, where it is finished, only reads the run in `settings.folder()`. Each verdict also names its
    `folder`.

    Raises:
        UserError: for settings, data, a teacher, a profile or a folder that cannot be used, and a budget that no
            student meets; before any training, and before the run's folder is made.
    """
    progress = progress or Progress(quiet=True)
    settings.check()
    folder = settings.folder()
    begun = folder.exists() and (not folder.is_dir() or any(folder.iterdir()))
    ground = None if begun else lay_ground(settings, progress)
    with open_run(folder, "search", settings.to_json()) as run:
        finished = run.result("verdicts")
        if finished is None:
            begun_with = (_earlier_profile(run), _earlier_memory(run), _earlier_trials(run))
            ground = ground or lay_ground(settings, progress, *begun_with)
            finished = run.stage("verdicts", partial(_search, settings, ground, run, progress))
        else:
            progress.say(f"this search is finished; its results are in {folder}")
        labels = [Budget(settings.workload, budget).label for budget in settings.budgets_ms]
        # Verdicts of earlier versions have no label.
        told = [{"label": label, **one} for label, one in zip(labels, finished["verdicts"], strict=True)]
        return [{**verdict, "folder": str(folder / RESULTS / verdict["label"])} for verdict in told]


def _search(settings: SearchSettings, ground: Ground, run: RunFolder, progress: Progress) -> dict[str, Any]:
    profile = run.stage("profile", lambda: {"folder": str(ground.profile.folder), "seconds": ground.profile_seconds})
    _require_same_data(run, ground)
    _require_same_space(run, ground)
    run.stage(MEMORY, lambda: _memory_of(ground))
    if settings.learn_from:
        run.stage(EARLIER, lambda: {"budgets": [trials.to_json() for trials in ground.earlier_trials]})
    ground = _as_begun(run, ground)
    plan = planned(settings, ground)
    names = " and ".join(budget.label for budget in ground.budgets)
    progress.say(f"searching the space {settings.space_name} for {names} on {ground.target}: {plan.left({})}")
    context = _with_teacher(settings, ground, run, progress)
    progress.say(plan.left(_done(run, ground.budgets)))
    context = _as_prepared(context, run.stage(PREPARED, partial(PREPARATIONS[context.method.preparation], context)))
    ground = context.ground
    delivered = [(budget, _student(context, budget, plan)) for budget in ground.budgets]
    chosen = [_chosen(context, delivered, budget_ms) for budget_ms in settings.budgets_ms]
    # Nothing is chosen after this line: the test split is read here for the first time.
    baselines = run.stage("test baselines", partial(baselines_on_test, context))
    verdicts = []
    for budget, student in delivered:
        took = _done(run, ground.budgets)
        seconds = {
            "profile": profile["seconds"],
            "teacher": took["teacher"],
            "search": took.get(PREPARED, 0.0) + took[f"{budget.label} search"] + took[f"{budget.label} finalists"],
            "distill": took[f"{budget.label} distillation"],
            "export": took[f"{budget.label} export"],
        }
        conclusion = partial(conclude, context, budget, student, baselines, seconds)
        verdicts.append(run.stage(f"{budget.label} verdict", conclusion))
    fronts = [_front(context, budget) for budget in ground.budgets]
    write_report(run.path / REPORT_FILE, run, ground.budgets, verdicts, fronts, chosen)
    shutil.rmtree(run.path / WORK, ignore_errors=True)
    by_label = dict(zip([budget.label for budget in ground.budgets], verdicts, strict=True))
    return {"verdicts": [{"label": one["chosen"], **by_label[one["chosen"]], "tried": one["tried"]} for one in chosen]}


def _chosen(context: Context, delivered: list[tuple[Budget, Delivered]], budget_ms: float) -> dict[str, Any]:
    """Which of the budgets of so many milliseconds counts: of one, that."""
    found = [(budget, student) for budget, student in delivered if budget.latency_ms == budget_ms]
    if not context.settings.precision_auto:
        return {"chosen": found[0][0].label, "tried": []}
    return context.run.stage(f"{budget_ms:.12g}ms precision", partial(choose, context, found))


def _front(context: Context, budget: Budget) -> list[dict[str, Any]]:
    """The trials on a budget's front, whose shapes are left in the run folder."""
    searched, members = context.run.result(f"{budget.label} search"), context.ground.members
    assert searched is not None
    front = front_of(searched["trials"], members)
    write_front(context.run.path / FRONT / budget.label, front, members)
    return front


def _as_begun(run: RunFolder, ground: Ground) -> Ground:
    """The ground with the budgets that the run began with: which precisions are hopeless may be a matter of noise."""
    begun = run.stage("budgets", lambda: {"labels": [budget.label for budget in ground.budgets]})["labels"]
    milliseconds = dict.fromkeys(budget.latency_ms for budget in ground.budgets)
    several = len(ground.scorings) > 1
    every = [Budget(workload, ms, several) for ms in milliseconds for workload in ground.scorings]
    return replace(ground, budgets=tuple(budget for budget in every if budget.label in begun))


def _as_prepared(context: Context, prepared: dict[str, Any]) -> Context:
    """The context once a method's preparation has shown how far its space is worth searching: not beyond what it was
    before."""
    if "caps" not in prepared:
        return context
    ground, caps = context.ground, caps_from_json(prepared["caps"])
    members = confined(ground.members, caps)
    scorings = {one: replace(scoring, members=members) for one, scoring in ground.scorings.items()}
    return replace(context, ground=replace(ground, members=members, scorings=scorings))


def _require_same_data(run: RunFolder, ground: Ground) -> None:
    data = run.stage("data", lambda: {"content_hash": ground.task.content_hash})
    if data["content_hash"] != ground.task.content_hash:
        raise UserError(f"the data {ground.task.source} has changed since this search began: give another --output.")


def _require_same_space(run: RunFolder, ground: Ground) -> None:
    """Codes of earlier trials would stand for other students."""
    choices = choices_hash(ground.members.space.choices)
    if run.stage(SPACE, lambda: {"choices": choices})["choices"] != choices:
        raise UserError(
            f"the space {ground.members.space.name} has changed since this search began: give another --output, or "
            "let it be what it was."
        )


def _with_teacher(settings: SearchSettings, ground: Ground, run: RunFolder, progress: Progress) -> Context:
    """The context of all further stages: the teacher fitted to the data (by content, whatever the seed) and timed."""
    fitting = EFFORTS[settings.effort].fitting(ground.task.kind)

    def prepare() -> dict[str, Any]:
        return {"content_hash": prepare_teacher(settings.teacher, ground.task, progress, training=fitting).content_hash}

    def time() -> dict[str, Any]:
        progress.say(f"timing the teacher on {ground.target}")
        item = {"teacher": used_teacher(run, teacher)}
        timed = {one: time_items(item, ground.target, one, settings.seed, progress) for one in ground.scorings}
        return {one.precision: found["teacher"].p50_ms for one, found in timed.items()}

    stored = run.stage("teacher", prepare)
    teacher = prepare_teacher(settings.teacher, ground.task, Progress(quiet=True), training=fitting)
    if teacher.content_hash != stored["content_hash"]:
        raise UserError(f"the teacher {teacher.name} has changed since this search began: give another --output.")
    teacher_ms = run.stage("teacher latencies", time)
    for budget in ground.budgets:
        itself_ms = teacher_ms[budget.workload.precision]
        if itself_ms <= budget.latency_ms:
            progress.say(
                f"the teacher itself takes {itself_ms:.2f} ms and fits {budget.label} already; a student can only be "
                "smaller and faster"
            )
    return Context(settings, ground, teacher, teacher_ms, run, progress)


def _student(context: Context, budget: Budget, plan: Forecast) -> Delivered:
    """Candidates, finalists, distillation and export of one budget, each a stage that is not done twice."""
    run, say = context.run, context.progress.say
    searched = run.stage(f"{budget.label} search", partial(try_candidates, context, budget))
    say(plan.left(_done(run, context.ground.budgets)))
    timed = run.stage(f"{budget.label} finalists", partial(time_finalists, context, budget, searched))
    finalists = distil_finalists(context, budget, timed)
    say(plan.left(_done(run, context.ground.budgets)))
    return deliver(context, budget, finalists)


def _done(run: RunFolder, budgets: tuple[Budget, ...]) -> dict[str, float]:
    """Seconds of the finished stages, by the forecast's names; what was done for several finalists is added up."""
    done = {name: run.seconds(name) for name in ["teacher", PREPARED] if run.result(name)}
    for budget in budgets:
        for name in (f"{budget.label} search", f"{budget.label} finalists"):
            if run.result(name):
                done[name] = run.seconds(name)
        stages = (f"{budget.label} finalists", lighter_stage(budget), f"{budget.label} further finalists")
        finalists = [one for stage in stages for one in finalists_of(run.result(stage) or {"finalists": []})]
        for part, stage_of in (("distillation", distillation_stage), ("export", export_stage)):
            ended = [stage for stage in (stage_of(budget, one) for one in finalists) if run.result(stage)]
            if ended:
                done[f"{budget.label} {part}"] = sum(run.seconds(stage) for stage in dict.fromkeys(ended))
    return done


def _memory_of(ground: Ground) -> dict[str, Any]:
    """What foretells memory, by precision; nothing where that is not limited."""
    found = {one.precision: scoring.limits.memory for one, scoring in ground.scorings.items()}
    return {precision: model.to_json() for precision, model in found.items() if model is not None}


def _earlier_memory(run: RunFolder) -> dict[str, MemoryModel]:
    """What foretold memory at an earlier start of this run: measured anew it would bar other members."""
    stored = run.result(MEMORY) or {}
    return {precision: memory_model_from_json(model) for precision, model in stored.items()}


def _earlier_trials(run: RunFolder) -> list[EarlierTrials] | None:
    """What this run learnt from earlier searches as it began: they may have gone on since."""
    stored = run.result(EARLIER)
    return None if stored is None else [trials_from_json(trials) for trials in stored["budgets"]]


def _earlier_profile(run: RunFolder) -> Path | None:
    """The profile that an earlier start of this run chose."""
    stored = run.result("profile")
    return Path(stored["folder"]) if stored else None
