"""The device that a search is for: its profile, found or made, and models timed on it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from devices.measurement import Measurement
from devices.store import SampleStore
from devices.target import open_target
from devices.workload import Precision, Workload
from export.items import Item
from profiler.measuring_process import Crew
from profiler.processes import FINAL_POLICY, measure_items
from profiler.profile import Profile, check_profile, find_profile, load_profile, profile_device
from profiler.workloads import WorkloadRange
from runs.errors import UserError
from runs.progress import Progress

PREFERRED_TARGET = "onnxruntime"
"""Profiled first on a machine without any profile: it runs the file that is shipped."""

PROCESSES = 3


def in_each(workload: Workload, precisions: Sequence[Precision]) -> list[Workload]:
    """The workload in each of the precisions."""
    return [replace(workload, precision=precision) for precision in precisions]


def device_profile(
    folder: Path | None,
    target: str | None,
    workload: Workload,
    progress: Progress,
    precisions: Sequence[Precision] = (),
) -> tuple[Profile, str]:
    """The profile to search with, and the target it is of: the one given, else this machine's, else a new one.

    `precisions` are those that it must know, where that is not the workload's alone. Raises `UserError` for a profile
    of another target than asked for, of a device that is not this one, or without one of several precisions.
    """
    workloads = in_each(workload, precisions or (workload.precision,))
    if folder is None and target is not None and not open_target(target).clocked:
        # What replays a profile names the folder of that profile.
        folder = Path(target.partition(":")[2])
    if folder is None:
        found = find_profile(target, *workloads)
        if found is None:
            name = target or PREFERRED_TARGET
            for one in workloads:
                open_target(name).check(one)
            asked = replace(WorkloadRange.of(workload), precisions=tuple(one.precision for one in workloads))
            progress.say(f"this machine has no profile of {name} for {asked.key} yet: profiling it first")
            found = profile_device(name, asked, progress=progress)
    else:
        found = load_profile(Path(folder))
        if found.workloads.earlier_tokens != workload.earlier_tokens:
            raise UserError(
                f"the profile {found.folder} is of texts with {found.workloads.earlier_tokens} tokens in their cache, "
                f"and {workload.earlier_tokens} are asked for: profile with --earlier-tokens "
                f"{workload.earlier_tokens}, or ask for as many."
            )
    used = target or found.target
    if open_target(used).stands_for != found.target:
        raise UserError(f"the profile {found.folder} is of {found.target}, not of {used}: name one of the two.")
    for one in workloads:
        open_target(used).check(one)
        if len(workloads) > 1 and one.precision not in found.workloads.precisions:
            raise UserError(
                f"the profile {found.folder} knows no {one.precision}, which --precision auto tries: profile with "
                f"--precision {' --precision '.join(precisions)}, or search in one that it knows."
            )
    check_profile(found, used)
    progress.say(f"using the profile of {found.target} in {found.folder}")
    return found, used


def time_items(
    items: Mapping[str, Item],
    target: str,
    workload: Workload,
    seed: int,
    progress: Progress,
    store: SampleStore | None = None,
    times: int = 1,
    crew: Crew | None = None,
) -> dict[str, Measurement]:
    """Measurements by key over `PROCESSES` processes, or `times` as many; for a promise, not for a fit.

    `store` remembers samples, and `crew` are processes that are ready already, of the same target and seed.
    """
    measured = measure_items(
        items,
        target,
        [workload],
        FINAL_POLICY,
        processes=times * PROCESSES,
        seed=seed,
        progress=progress,
        store=store,
        crew=crew,
    )
    return {key: measured[key, workload] for key in items}
