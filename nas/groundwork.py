"""What a search stands on before it begins: data, the teacher's shape, the device profile, a budget that can be met."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from math import ceil
from pathlib import Path
from time import perf_counter

import numpy as np
import numpy.typing as npt

from devices.measurement import Measurement
from devices.store import SampleStore
from devices.target import open_target
from devices.workload import Workload
from distill.checkpoints import load_tokenizer
from distill.encoding import encode
from distill.fitting import fitted_order, fitting_length
from distill.kinds import KINDS, LanguageModel
from distill.recipe import Recipe
from distill.recipe_file import RECIPES
from distill.sources import Looked, check_teacher, find_source
from distill.stock_teachers import stock_type
from distill.tasks import Task, load_task
from export.items import Item
from nas.budget import Budget
from nas.limits import limited_form
from nas.members import Members
from nas.methods import METHODS
from nas.scoring import Scoring, require_feasible
from nas.settings import SearchSettings
from nas.supernet_work import supernet_work
from nas.use import used_head
from profiler.processes import FINAL_POLICY, measure_items
from profiler.profile import Profile, check_profile, find_profile, load_profile, profile_device
from profiler.workloads import WorkloadRange
from runs.errors import UserError
from runs.progress import Progress
from students.space import space
from students.spec import Head, StudentSpec
from students.stock_encoders import STOCK_ENCODERS

PREFERRED_TARGET = "onnxruntime"
"""Profiled first on a machine without any profile: it runs the file that is shipped."""

COVERED_SHARE = 99.0
"""Percentile of the tokenised training lengths that `auto` makes room for."""

LENGTH_STEP = 16
PROCESSES = 3


@dataclass(frozen=True)
class Ground:
    """Everything that several budgets share and that exists before any training."""

    task: Task
    head: Head
    """What teacher and students answer; students are used and timed under `nas.use.used_head` of it."""
    teacher_spec: StudentSpec
    """The teacher's shape, or that of the copy that students are cut from."""
    teacher_fitted: bool
    """Whether the teacher answers with the task's labels already, so that it will not be fine-tuned."""
    mean_tokens: float
    profile: Profile
    target: str
    workload: Workload
    scoring: Scoring
    budgets: tuple[Budget, ...]
    profile_seconds: float


def lay_ground(settings: SearchSettings, progress: Progress, profile: Path | None = None) -> Ground:
    """Load data, teacher's shape and profile (made if there is none), and check that the budgets can be met.

    Trains nothing, and writes nothing but fetched packages and the device profile, which outlive the run. `profile`
    is the one an earlier start of this run used.

    Raises:
        UserError: data, teacher or profile cannot be used, or no student is fast or small enough.
    """
    task = load_task(settings.data, progress, settings.task)
    kind = KINDS[task.kind]
    if kind.causal:
        raise UserError(
            f"the data {task.source} is a task of kind {task.kind!r}, and a search does not know models that write on "
            "yet: distil a student of a shape you choose with distill-student, or search with --task masked-lm."
        )
    progress.say(f"data: {task.name}, {task.kind} ({task.licence}), {task.source}")
    method = METHODS[settings.method]
    teacher = _looked_at(settings.teacher, task, RECIPES[method.recipe], progress)
    inputs, tokenizer, longest = teacher.inputs, load_tokenizer(teacher.folder), teacher.inputs.maximum_positions
    if isinstance(kind, LanguageModel):
        # Its texts are one stream, cut into pieces as long as they are learnt from.
        longest, _ = fitting_length(tokenizer, task, longest)
    lengths = encode(tokenizer, task.train, longest, task.kind).lengths
    workload = settings.workload
    if settings.sequence_length_auto:
        length = automatic_length(lengths, inputs.maximum_positions)
        workload = replace(workload, sequence_length=length)
        progress.say(f"99 % of the training texts fit into {length} tokens, so that is the sequence length")
    if workload.sequence_length > inputs.maximum_positions:
        raise UserError(
            f"--sequence-length is {workload.sequence_length}, and the teacher {teacher.found.name} reads at most "
            f"{inputs.maximum_positions} tokens: give a shorter one."
        )
    start = perf_counter()
    found, target = device_profile(profile or settings.profile, settings.target, workload, progress)
    seconds = perf_counter() - start
    head = kind.head_for(task.label_names)
    members = Members(space(settings.space), **asdict(inputs), head=used_head(head))
    assert teacher.cut_from is not None
    shape = replace(teacher.cut_from, head=head)
    if method.preparation == "supernet":
        supernet_work(members, shape)
    disturbance = found.disturbance(workload)
    limits = settings.limits(limited_form(open_target(target).artifact, workload).precision)
    scoring = Scoring(members, found.predictor, workload, disturbance, limits, method.rule)
    budgets = tuple(Budget(workload, float(budget)) for budget in settings.budgets_ms)
    fastest = scoring.fastest(settings.seed)

    def measure(spec: StudentSpec) -> float:
        progress.say("timing the fastest possible student, for the prediction says that no student fits")
        return time_items({"fastest": spec}, target, workload, settings.seed, progress)["fastest"].p50_ms

    require_feasible(budgets, fastest, measure, target, settings.space)
    return Ground(
        task=task,
        head=head,
        teacher_spec=shape,
        teacher_fitted=fitted_order(teacher.found, task) is not None,
        mean_tokens=float(lengths.mean()),
        profile=found,
        target=target,
        workload=workload,
        scoring=scoring,
        budgets=budgets,
        profile_seconds=seconds,
    )


def _looked_at(source: str | None, task: Task, recipe: Recipe, progress: Progress) -> Looked:
    """What is known of a teacher from which students can be cut, so that it has a shape of ours."""
    folder, name = find_source(source, progress)
    own = stock_type(folder)
    if own is not None and own not in STOCK_ENCODERS:
        raise UserError(
            f"the teacher {name} is of type {own!r}, and a search cuts students from bert, "
            f"{', '.join(STOCK_ENCODERS.names())} and students of ours: distill-student --recipe from-random knows "
            "others, for a student of a shape you choose."
        )
    return check_teacher(source, task, recipe, progress)


def device_profile(
    folder: Path | None, target: str | None, workload: Workload, progress: Progress
) -> tuple[Profile, str]:
    """The profile to search with, and the target it is of: the one given, else this machine's, else a new one.

    Raises `UserError` for a profile of another target than asked for, or of a device that is not this one.
    """
    if folder is None and target is not None and not open_target(target).clocked:
        # What replays a profile names the folder of that profile.
        folder = Path(target.partition(":")[2])
    if folder is None:
        found = find_profile(target, workload)
        if found is None:
            name = target or PREFERRED_TARGET
            progress.say(f"this machine has no profile of {name} for {workload.key} yet: profiling it first")
            found = profile_device(name, WorkloadRange.of(workload), progress=progress)
    else:
        found = load_profile(Path(folder))
    used = target or found.target
    if open_target(used).stands_for != found.target:
        raise UserError(f"the profile {found.folder} is of {found.target}, not of {used}: name one of the two.")
    open_target(used).check(workload)
    check_profile(found, used)
    progress.say(f"using the profile of {found.target} in {found.folder}")
    return found, used


def automatic_length(lengths: npt.NDArray[np.int64], maximum: int) -> int:
    """Tokens that 99 % of texts of `lengths` tokens [n] fit into, rounded up to a multiple of 16.

    Never more than `maximum`, the positions the teacher has.
    """
    covered = float(np.percentile(lengths, COVERED_SHARE))
    return min(maximum, LENGTH_STEP * ceil(covered / LENGTH_STEP))


def time_items(
    items: Mapping[str, Item],
    target: str,
    workload: Workload,
    seed: int,
    progress: Progress,
    store: SampleStore | None = None,
) -> dict[str, Measurement]:
    """Measurements by key over three processes; for a promise, not for a fit. `store` remembers samples."""
    measured = measure_items(
        items, target, [workload], FINAL_POLICY, processes=PROCESSES, seed=seed, progress=progress, store=store
    )
    return {key: measured[key, workload] for key in items}
