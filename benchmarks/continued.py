"""What a benchmark has still to do where other machines may have begun: students of one comparison share a teacher."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from runs.progress import Progress


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
    """Jobs without a result; of a group that lacks some, also those that had another fitted teacher, which are dropped.

    `results` are by place, each with the `weights` of its teacher; `weights` are those of each task's teacher here: the
    same teacher fitted on another machine is not quite the same. A group that is complete stays as it is.
    """
    begun = {job.group for job in jobs if job.place not in results(job)}
    for job in jobs:
        have = results(job)
        if job.group in begun and job.place in have and have[job.place]["weights"] != weights[job.task]:
            Progress().say(f"{job.task}, {job.place}: done again, since the teacher fitted here is another one.")
            del have[job.place]
    return [job for job in jobs if job.place not in results(job)]
