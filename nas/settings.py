"""What a search is asked to do, checked before anything is done."""

from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any

import devices.targets  # noqa: F401  (fills the registry)
import profiler.replay  # noqa: F401  (files the target that needs a profile)
from devices.target import open_target
from devices.workload import Workload
from distill.growth import require_growing
from nas.additive import require_additive
from nas.budget import Budget
from nas.limits import MEGABYTE, Limits
from nas.memory import MemoryModel
from nas.methods import METHODS
from nas.schedule import EFFORTS
from runs.errors import UserError
from runs.files import content_hash
from students.space import space


@dataclass(frozen=True)
class SearchSettings:
    """One search: several budgets share profile, teacher and data.

    `target` None: the profile's; `profile` None: this machine's by rule; `teacher`, `data` None: the embedded default;
    `output` None: `tailorbird-<hash of the settings>` in the current folder. With `sequence_length_auto` the
    workload's length is replaced by what 99 % of the training texts fit into; with `precision_auto` a student is sought
    in each precision of `nas.groundwork.CHOICES`, and the best of them is chosen.
    """

    budgets_ms: tuple[float, ...]
    workload: Workload = Workload()
    target: str | None = None
    profile: Path | None = None
    teacher: str | None = None
    data: str | None = None
    task: str | None = None
    """Kind of task; None: what the data's columns say."""
    method: str = "ridge"
    space: str | None = None
    """A space by name, or a YAML file; None: the method's."""
    effort: str = "quick"
    learn_from: tuple[Path, ...] = ()
    """Run folders of earlier searches of the same data and space, for a method that learns from them."""
    max_parameters: int | None = None
    max_file_mb: float | None = None
    """Millions of bytes of the file that the target runs."""
    max_memory_mb: float | None = None
    """Millions of bytes that a process takes to load that file and run it in ONNX Runtime (`export.memory`)."""
    parameter_target: int | None = None
    """Weights of random members on average at which a supernet stops to grow; None: as the method has it."""
    seed: int = 0
    output: Path | None = None
    sequence_length_auto: bool = False
    precision_auto: bool = False

    @property
    def space_name(self) -> str:
        """The space that is searched."""
        return self.space or METHODS[self.method].space

    def check(self) -> None:
        """Raise `UserError` for whatever can be seen to be wrong without loading a model or data."""
        if not self.budgets_ms:
            raise UserError("a search needs at least one --budget-ms.")
        labels = [Budget(self.workload, budget).label for budget in self.budgets_ms]
        if len(set(labels)) < len(labels):
            raise UserError(f"--budget-ms is given twice with the same value ({', '.join(labels)}).")
        method, members, _ = METHODS[self.method], space(self.space_name), EFFORTS[self.effort]
        if method.preparation == "supernet":
            members.require_one_embedding()
        if method.preparation == "replaced-parts":
            require_additive(members)
        if method.growth is not None:
            require_growing(members)
        elif self.parameter_target is not None:
            able = " or ".join(name for name in METHODS if METHODS[name].growth is not None)
            raise UserError(
                f"--parameter-target says how far a supernet grows, and --method {self.method} has none that does: "
                f"leave it away, or choose {able}."
            )
        self._check_learning()
        if self.max_parameters is not None and self.max_parameters < 1:
            raise UserError(f"--max-parameters is {self.max_parameters}: it must be a whole number of at least 1.")
        for option, most in (("--max-file-mb", self.max_file_mb), ("--max-memory-mb", self.max_memory_mb)):
            if most is not None and not 0 < most < inf:
                raise UserError(f"{option} is {most:g}: it must be a number above 0.")
        if self.target is not None:
            open_target(self.target).check(self.workload)

    def _check_learning(self) -> None:
        method = METHODS[self.method]
        if method.foretells and not self.learn_from:
            raise UserError(
                f"--method {self.method} goes by what an earlier search of the same data found: name its run folder "
                "with --learn-from, or choose another method."
            )
        if self.learn_from and not method.learns:
            able = " or ".join(name for name in METHODS if METHODS[name].learns)
            raise UserError(
                f"--method {self.method} cannot learn from earlier searches: leave --learn-from away, or choose {able}."
            )
        if self.folder() in [Path(folder).absolute() for folder in self.learn_from]:
            raise UserError(f"--learn-from names the search's own folder, {self.folder()}: give another --output.")

    def limits(self, precision: str, memory: MemoryModel | None = None) -> Limits:
        """What students may weigh, whose files have a precision; memory counts once a model of it is there."""
        file = None if self.max_file_mb is None else self.max_file_mb * MEGABYTE
        peak = None if memory is None or self.max_memory_mb is None else self.max_memory_mb * MEGABYTE
        return Limits(self.max_parameters, file, precision, peak, memory)

    def to_json(self) -> dict[str, Any]:
        """All that decides the result, which is everything but where it is written to."""
        # What earlier versions did not know is left out where it is not asked for: their runs are still the same.
        later = {
            "task": self.task,
            "max_file_mb": self.max_file_mb,
            "max_memory_mb": self.max_memory_mb,
            "precision_auto": self.precision_auto or None,
            "parameter_target": self.parameter_target,
            "learn_from": [str(Path(folder).absolute()) for folder in self.learn_from] or None,
        }
        asked = {name: value for name, value in later.items() if value is not None}
        return asked | {
            "budgets_ms": [float(budget) for budget in self.budgets_ms],
            "workload": self.workload.to_json(),
            "sequence_length_auto": self.sequence_length_auto,
            "target": self.target,
            "profile": None if self.profile is None else str(Path(self.profile).absolute()),
            "teacher": self.teacher,
            "data": self.data,
            "method": self.method,
            "space": self.space_name,
            "effort": self.effort,
            "max_parameters": self.max_parameters,
            "seed": self.seed,
        }

    def folder(self) -> Path:
        """Where the run lies, absolute."""
        return (self.output or Path(f"tailorbird-{content_hash(self.to_json())}")).absolute()
