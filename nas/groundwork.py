"""What a search stands on before it begins: data, the teacher's shape, the device profile, a budget that can be met."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import ceil
from pathlib import Path
from time import perf_counter

import numpy as np
import numpy.typing as npt

from devices.target import open_target
from devices.workload import Precision, Workload
from distill.checkpoints import load_tokenizer
from distill.encoding import encode
from distill.fitting import fitted_order, fitting_length
from distill.kinds import KINDS, LanguageModel
from distill.tasks import Task, load_task
from nas.budget import Budget
from nas.controllers.pool import Codes
from nas.device import device_profile, in_each, time_items
from nas.earlier_trials import EarlierTrials, read_trials
from nas.limits import file_form
from nas.members import Members
from nas.memory import MEASURED, MemoryModel, measure_memory
from nas.methods import METHODS
from nas.scoring import Scoring, require_feasible
from nas.settings import SearchSettings
from nas.supernet_work import confined, growing, supernet_work
from nas.teacher import looked_at, require_cuttable, teacher_shape
from nas.use import next_token, require_causal, used_head
from profiler.profile import Profile
from runs.errors import UserError
from runs.progress import Progress
from students.space import space
from students.spec import Head, StudentSpec

CHOICES: tuple[Precision, ...] = ("fp32", "int8")
"""Precisions that `--precision auto` tries."""

COVERED_SHARE = 99.0
"""Percentile of the tokenised training lengths that `auto` makes room for."""

LENGTH_STEP = 16

WEIGHABLE = 2_000
"""Members drawn, of which a few are weighed where memory is limited."""


@dataclass(frozen=True)
class Ground:
    """Everything that several budgets share and that exists before any training."""

    task: Task
    head: Head
    """What teacher and students answer; students are used and timed under `nas.use.used_head` of it."""
    teacher_spec: StudentSpec
    """The teacher's shape, or that of the copy that students are cut from."""
    recipe: str
    """How the method distils, by name: its own, or for a teacher that nothing can be cut from `UNCUT`."""
    teacher_fitted: bool
    """Whether the teacher answers with the task's labels already, so that it will not be fine-tuned."""
    examples: int
    """Texts to learn from, or a language model's blocks of them."""
    mean_tokens: float
    profile: Profile
    target: str
    workload: Workload
    members: Members
    scorings: Mapping[Workload, Scoring]
    """By workload: there are several where the precision is to be chosen."""
    budgets: tuple[Budget, ...]
    profile_seconds: float
    earlier_trials: tuple[EarlierTrials, ...] = ()
    """What earlier searches tried, where the method is to learn from them."""

    def share(self, budget: Budget) -> float:
        """A budget's milliseconds in those that the teacher is predicted to take as it is used, 1 at most.

        In the search's own precision: students of several that are compared learn for as long.
        """
        teacher = replace(self.teacher_spec, head=used_head(self.head))
        (teacher_ms,) = self.profile.predictor.predict([teacher], self.workload)
        return min(1.0, budget.latency_ms / float(teacher_ms))

    def scoring(self, budget: Budget) -> Scoring:
        """How members are scored for a budget."""
        return self.scorings[budget.workload]


def lay_ground(
    settings: SearchSettings,
    progress: Progress,
    profile: Path | None = None,
    memory: Mapping[str, MemoryModel] | None = None,
    earlier_trials: Sequence[EarlierTrials] | None = None,
) -> Ground:
    """Load data, teacher's shape and profile (made if there is none), and check that the budgets can be met.

    Trains nothing, and writes nothing but fetched packages and the device profile, which outlive the run. `profile`,
    `memory`, by precision of the workload, and `earlier_trials` are those that an earlier start of this run used.

    Raises:
        UserError: data, teacher or profile cannot be used, or no student is fast or small enough.
    """
    task = load_task(settings.data, progress, settings.task)
    kind = KINDS[task.kind]
    if settings.precision_auto and isinstance(kind, LanguageModel):
        raise UserError(
            f"--precision auto chooses by answers, and a {task.kind} student answers no texts: search with --precision "
            "fp32 or --precision int8."
        )
    progress.say(f"data: {task.name}, {task.kind} ({task.licence}), {task.source}")
    earlier_trials = read_trials(settings, task.content_hash) if earlier_trials is None else earlier_trials
    method = METHODS[settings.method]
    recipe, teacher = looked_at(settings.teacher, task, method, progress)
    inputs, tokenizer, longest = teacher.inputs, load_tokenizer(teacher.folder), teacher.inputs.maximum_positions
    if isinstance(kind, LanguageModel):
        # Its texts are one stream, cut into pieces as long as they are learnt from.
        longest, _ = fitting_length(tokenizer, task, longest)
    lengths = encode(tokenizer, task.train, longest, task.kind).lengths
    workload = settings.workload
    if settings.sequence_length_auto:
        length = automatic_length(lengths, inputs.maximum_positions)
        workload = replace(workload, sequence_length=length)
        what = (
            "texts are read in blocks of" if isinstance(kind, LanguageModel) else "99 % of the training texts fit into"
        )
        progress.say(f"{what} {length} tokens, so that is the sequence length")
    if workload.sequence_length > inputs.maximum_positions:
        raise UserError(
            f"--sequence-length is {workload.sequence_length}, and the teacher {teacher.found.name} reads at most "
            f"{inputs.maximum_positions} tokens: give a shorter one."
        )
    if kind.causal:
        require_causal(space(settings.space_name), settings.target)
        workload = next_token(workload, inputs.maximum_positions)
        progress.say(f"a student writes on: a budget is what the next token takes after {workload.earlier_tokens}")
    start = perf_counter()
    precisions = CHOICES if settings.precision_auto else (workload.precision,)
    found, target = device_profile(profile or settings.profile, settings.target, workload, progress, precisions)
    seconds = perf_counter() - start
    head = kind.head_for(task.label_names)
    members = Members(space(settings.space_name), **asdict(inputs), head=used_head(head))
    shape = replace(teacher.cut_from or teacher_shape(teacher, head), head=head)
    grown = growing(method, members, settings.parameter_target)
    if grown is not None:
        members = confined(members, grown.widest)
    if teacher.cut_from is not None:
        require_cuttable(teacher.found.name, shape, members.space)
    if method.preparation == "supernet":
        supernet_work(replace(members, head=head), shape, method)
    known = memory or {}
    scorings = {
        one: _scoring(settings, members, found, target, one, known.get(one.precision), progress)
        for one in in_each(workload, precisions)
    }
    budgets = _feasible_budgets(settings, scorings, target, progress)
    return Ground(
        task=task,
        head=head,
        teacher_spec=shape,
        recipe=recipe,
        teacher_fitted=fitted_order(teacher.found, task) is not None,
        examples=len(lengths),
        mean_tokens=float(lengths.mean()),
        profile=found,
        target=target,
        workload=workload,
        members=members,
        scorings=scorings,
        budgets=budgets,
        profile_seconds=seconds,
        earlier_trials=tuple(earlier_trials),
    )


def _scoring(
    settings: SearchSettings,
    members: Members,
    profile: Profile,
    target: str,
    workload: Workload,
    memory: MemoryModel | None,
    progress: Progress,
) -> Scoring:
    form = file_form(open_target(target).artifact, workload)
    limits, rule = settings.limits(form.precision, memory), METHODS[settings.method].rule
    found = Scoring(members, profile.predictor, workload, profile.disturbance(workload), limits, rule)
    if settings.max_memory_mb is None or memory is not None:
        return found
    # What other limits leave nothing of is said before anything is measured.
    found.fastest(settings.seed)
    memory = measure_memory(members, _within(found, settings), form, workload, progress)
    return replace(found, limits=settings.limits(form.precision, memory))


def _within(scoring: Scoring, settings: SearchSettings) -> Codes:
    """Members that the search may try, as far as is known before their memory is: those of its budgets, or of any."""
    members = scoring.members.space
    codes = np.concatenate(
        [members.enumerate_extremes(), members.sample(WEIGHABLE, np.random.default_rng(settings.seed))]
    )
    latency, upper = scoring(codes)
    allowed = np.isfinite(upper)
    fast = allowed & (latency <= max(settings.budgets_ms))
    return codes[fast if fast.sum() >= 2 * MEASURED else allowed]


def _feasible_budgets(
    settings: SearchSettings, scorings: Mapping[Workload, Scoring], target: str, progress: Progress
) -> tuple[Budget, ...]:
    """A budget for each number of milliseconds and each workload that a student can keep it in.

    Raises `UserError` for milliseconds that no student keeps in any.
    """
    budgets: list[Budget] = []
    for budget_ms in settings.budgets_ms:
        reasons: list[UserError] = []
        for workload, scoring in scorings.items():
            budget = Budget(workload, float(budget_ms), len(scorings) > 1)
            try:
                _require_feasible(settings, budget, scoring, target, progress)
                budgets.append(budget)
            except UserError as problem:
                reasons.append(problem)
        if len(reasons) == len(scorings):
            raise reasons[-1]
        for reason in reasons:
            progress.say(f"searching without a precision: {reason}")
    return tuple(budgets)


def _require_feasible(
    settings: SearchSettings, budget: Budget, scoring: Scoring, target: str, progress: Progress
) -> None:
    def measure(spec: StudentSpec) -> float:
        progress.say("timing the fastest possible student, for the prediction says that no student fits")
        return time_items({"fastest": spec}, target, scoring.workload, settings.seed, progress)["fastest"].p50_ms

    require_feasible([budget], scoring.fastest(settings.seed), measure, target, settings.space_name)


def automatic_length(lengths: npt.NDArray[np.int64], maximum: int) -> int:
    """Tokens that 99 % of texts of `lengths` tokens [n] fit into, rounded up to a multiple of 16.

    Never more than `maximum`, the positions the teacher has.
    """
    covered = float(np.percentile(lengths, COVERED_SHARE))
    return min(maximum, LENGTH_STEP * ceil(covered / LENGTH_STEP))
