"""What a benchmark has still to do where other machines have begun: students of one comparison share a teacher."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar


class Job(Protocol):
    """One result of a task, to be stored at `place`; `group` is the same for those that are compared one by one."""

    @property
    def task(self) -> str: ...
    @property
    def place(self) -> str: ...
    @property
    def group(self) -> tuple[str, ...]: ...


AnyJob = TypeVar("AnyJob", bound=Job)


def still_to_do(
    jobs: Sequence[AnyJob], results: Callable[[AnyJob], dict[str, Any]], weights: Mapping[str, str]
) -> list[AnyJob]:
    """Jobs without a result; of a group that lacks some, also those that had another fitted teacher.

    `results` are by place, each with the `weights` of its teacher; `weights` are those of each task's teacher here: the
    same teacher fitted on another machine is not quite the same. A group that is complete stays as it is, and what is
    there stays until it is done again.
    """
    teachers: dict[tuple[str, ...], set[str | None]] = {}
    for job in jobs:
        teachers.setdefault(job.group, set()).add(_teacher_of(job, results))
    complete = {group for group, found in teachers.items() if len(found) == 1 and None not in found}
    return [job for job in jobs if job.group not in complete and _teacher_of(job, results) != weights[job.task]]


def _teacher_of(job: AnyJob, results: Callable[[AnyJob], dict[str, Any]]) -> str | None:
    return results(job)[job.place]["weights"] if job.place in results(job) else None


def one_teacher(cells: Sequence[Mapping[str, Any]]) -> bool:
    """Whether all cells are of the same fitted teacher."""
    return len({cell["weights"] for cell in cells}) <= 1
