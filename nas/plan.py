"""What a search is planned to take, from its settings and the ground that it starts from."""

from dataclasses import replace
from math import ceil

from distill.classroom import SAMPLE_WORDS
from distill.kinds import KINDS, LanguageModel
from distill.recipe_file import RECIPES
from nas.additive import parts_to_try
from nas.context import PREPARED, tried_at_once
from nas.estimate import Forecast, forecast
from nas.groundwork import Ground
from nas.methods import METHODS, Method
from nas.preparations import reached
from nas.schedule import ANSWERING, EFFORTS, Effort
from nas.settings import SearchSettings
from nas.supernet_work import supernet_steps, supernet_work
from nas.use import used_head


def _preparing(method: Method, effort: Effort, ground: Ground, batch_size: int) -> tuple[str, float] | None:
    """The stage of a method's preparation, and how many of the teacher's steps it takes as long as."""
    if method.preparation == "none":
        return None
    if method.preparation == "supernet":
        times = supernet_work(replace(ground.members, head=ground.head), ground.teacher_spec, method)
        return PREPARED, supernet_steps(method, effort) * times
    space = ground.members.space
    asked = sum(1 + len(parts_to_try(space, skeleton, effort.replaced)) for skeleton in reached(ground))
    return PREPARED, asked * ANSWERING * len(ground.task.validation) / batch_size


def _head_ms(ground: Ground) -> float:
    """What the head that students are taught under adds to the one that they are timed under, on the teacher."""
    used = replace(ground.teacher_spec, head=used_head(ground.head))
    with_head, without = ground.profile.predictor.predict([ground.teacher_spec, used], ground.workload)
    return max(0.0, float(with_head - without))


def _texts_judged(ground: Ground) -> int:
    """How many texts a candidate is judged on, about (`distill.classroom.Classroom.sample`)."""
    kind, texts = KINDS[ground.task.kind], len(ground.task.validation)
    if not isinstance(kind, LanguageModel):
        return texts
    return min(texts, ceil(SAMPLE_WORDS / (kind.asked_share * ground.mean_tokens)))


def planned(settings: SearchSettings, ground: Ground) -> Forecast:
    """Seconds of all stages of the search."""
    method, effort, kind = METHODS[settings.method], EFFORTS[settings.effort], ground.task.kind
    recipe = effort.recipe(RECIPES[ground.recipe], kind)
    optimization = recipe.optimization
    fitting = effort.fitting(kind)
    size = ground.examples, len(ground.task.label_names)
    return forecast(
        effort,
        ground.workload,
        {budget.label: budget.latency_ms + _head_ms(ground) for budget in ground.budgets},
        teacher_ms=float(ground.profile.predictor.predict([ground.teacher_spec], ground.workload)[0]),
        candidates=tried_at_once(method, effort, len(ground.scorings)),
        prepared=_preparing(method, effort, ground, optimization.examples_per_step),
        teacher_steps=0 if ground.teacher_fitted else round(fitting.work * fitting.steps(*size)),
        final_steps=optimization.steps(*size),
        train_size=size[0],
        tokens=ground.mean_tokens,
        batch_size=optimization.examples_per_step,
        copies=recipe.augment > 0,
        beside=isinstance(KINDS[kind], LanguageModel),
        remembered=KINDS[kind].causal,
        learnt=None if not method.learns else bool(ground.earlier_trials),
        taught=method.teaches,
        foretold=method.foretells,
        parts_read=_texts_judged(ground) if method.proxy == "supernet" else 0,
        shares={budget.label: ground.share(budget) for budget in ground.budgets},
    )
