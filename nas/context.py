"""What every stage of a search is handed: the ground it stands on, its method, its teacher, its folder."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from devices.measurement import Measurement
from devices.store import SampleStore
from devices.workload import Workload
from distill.kinds import KINDS, LanguageModel
from distill.recipe import Recipe
from distill.recipe_file import RECIPES
from distill.teachers import Teacher
from export.items import Checkpoint, Item
from nas.budget import Budget
from nas.device import time_items
from nas.groundwork import Ground
from nas.methods import BY_DIVERGENCE, METHODS, Method
from nas.proxies import Tryout
from nas.schedule import EFFORTS, Effort
from nas.settings import SearchSettings
from nas.use import used_checkpoint
from profiler.measuring_process import Crew
from runs.folder import RunFolder
from runs.progress import Progress
from students.spec import StudentSpec

STUDY_FILE = "study.db"
STORE_FILE = "measurements.sqlite"
RESULTS = "students"
WORK = "work"
PREPARED = "preparation"
"""The stage of a method's preparation, which all budgets share."""
SUPERNET = "supernet"
SHIPPED = "shipped"
"""In the name of each stage that measures a student as it is to be used, its teacher beside it."""
TEACHER_USED = "teacher"
"""Folder in `WORK` of what a teacher is used as."""


@dataclass(frozen=True)
class Context:
    """One search, once its teacher is ready and timed: `teacher_ms`, by precision, on the target at the workload."""

    settings: SearchSettings
    ground: Ground
    teacher: Teacher
    teacher_ms: Mapping[str, float]
    run: RunFolder
    progress: Progress

    @property
    def method(self) -> Method:
        """The method by its name."""
        return METHODS[self.settings.method]

    @property
    def effort(self) -> Effort:
        """The effort by its name."""
        return EFFORTS[self.settings.effort]

    @property
    def supernet(self) -> Path | None:
        """Where the method's supernet is, if it has one."""
        return self.run.path / SUPERNET if self.method.preparation == "supernet" else None

    @property
    def candidates(self) -> int:
        """Tried in each episode; precisions that are to be chosen from share what one would have."""
        return tried_at_once(self.method, self.effort, len(self.ground.scorings))

    @property
    def method_recipe(self) -> Recipe:
        """The search's recipe, in this task's and this effort's batches."""
        return self.effort.recipe(RECIPES[self.ground.recipe], self.ground.task.kind)

    @property
    def recipe(self) -> Recipe:
        """How the method distils: parts of a supernet go on from its weights."""
        if self.supernet is None:
            return self.method_recipe
        return replace(self.method_recipe, initialization=f"supernet:{self.supernet}", layer_map="uniform")

    @property
    def tryout(self) -> Tryout:
        """What every candidate is tried on."""
        examples = self.recipe.optimization.examples_per_step
        steps = self.effort.mini_steps(self.ground.examples, examples)
        task, effort, seed = self.ground.task, self.effort, self.settings.seed
        rate = effort.rate if self.method.proxy == BY_DIVERGENCE else 1.0
        return Tryout(self.teacher, task, self.recipe, steps, effort.subset, seed, self.supernet, rate)

    def full_steps(self, budget: Budget) -> int:
        """Optimizer steps of a full distillation."""
        task = self.ground.task
        own = self.recipe.optimization.steps(self.ground.examples, len(task.label_names))
        beside = isinstance(KINDS[task.kind], LanguageModel)
        return self.effort.full_steps(own, self.ground.share(budget), beside)

    def taught(self, spec: StudentSpec) -> StudentSpec:
        """A student as it is taught; `spec` is as it is used (`nas.use`)."""
        return replace(spec, head=self.ground.head)

    @property
    def teacher_item(self) -> Item:
        """The teacher as it is timed beside its students."""
        return used_teacher(self.run, self.teacher)

    def usual_teacher_ms(self, precision: str) -> float:
        """What the teacher usually takes: the median of when the search began and of each student shipped since.

        A machine that was disturbed just as a search began must not make every later moment look like a fast one.
        """
        shipped = [self.run.result(stage) for stage in self.run.stages() if f" {SHIPPED} " in stage]
        teachers = [found["measured"]["teacher"] for found in shipped if found is not None]
        later = [float(one["p50_ms"]) for one in teachers if one["workload"]["precision"] == precision]
        return median([self.teacher_ms[precision], *later])

    @contextmanager
    def store(self) -> Iterator[SampleStore]:
        """The samples that this search has taken on its target."""
        with SampleStore(self.run.path / STORE_FILE) as store:
            yield store

    def time(
        self, items: Mapping[str, Item], workload: Workload, times: int = 1, crew: Crew | None = None
    ) -> dict[str, Measurement]:
        """Measurements by key on the target, over `times` as many processes as usual, those of `crew` if it is given;
        those that have measured a key already do not do so again."""
        target, seed = self.ground.target, self.settings.seed
        with self.store() as store:
            return time_items(items, target, workload, seed, self.progress, store, times, crew)

    def crew(self) -> Crew:
        """Processes that measure on the target, for several batches one after the other; to be closed."""
        return Crew(self.ground.target, self.settings.seed, self.run.path, self.progress.say)

    def result_folder(self, label: str) -> Path:
        """Where a budget's student goes."""
        return self.run.path / RESULTS / label

    def work_folder(self, label: str) -> Path:
        """Where a budget's students are while they are made."""
        return self.run.path / WORK / label


def tried_at_once(method: Method, effort: Effort, precisions: int) -> int:
    """Candidates of an episode in each of so many precisions."""
    return -(-(method.candidates or effort.candidates) // precisions)


def used_teacher(run: RunFolder, teacher: Teacher) -> Item:
    """A search's teacher as it is used."""
    return Checkpoint(used_checkpoint(teacher.folder, run.path / WORK / TEACHER_USED))
