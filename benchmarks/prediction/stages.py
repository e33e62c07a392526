"""The stages of the benchmark as works with the moments they have to wait for."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from prediction.deadline import LimitedProgress
from prediction.measuring import Asked, measure_held_out, measure_profile
from prediction.places import Place
from prediction.schedule import Work
from profiler.folder import DEVICE_FILE
from runs.files import read_json
from runs.registry import Registry


@dataclass(frozen=True)
class Plan:
    """Whose latency is measured how; minutes are waited for from the end of a target's first profile."""

    targets: tuple[str, ...]
    output: Path
    asked: Asked
    again: tuple[str, ...]
    """Targets that are profiled twice."""
    wait_minutes: float
    again_minutes: float

    def places(self) -> list[Place]:
        """The targets' folders."""
        return [Place.of(target, self.output) for target in self.targets]


Stage = Callable[[Plan, LimitedProgress], Iterator[Work]]
STAGES: Registry[Stage] = Registry("stage")
"""What is measured, by stage, in the order in which whatever is ready is done."""

EVALUATE = "evaluate"
"""The stage after these, which measures nothing."""


def finished_at(place: Place) -> float | None:
    """When a target's first profile ended, in seconds since 1970; None while it has not."""
    file = place.profile / DEVICE_FILE
    return float(read_json(file)["finished_at"]) if file.is_file() else None


def _later(place: Place, minutes: float) -> Callable[[], float | None]:
    def ready_at() -> float | None:
        ended = finished_at(place)
        return None if ended is None else ended + 60 * minutes

    return ready_at


@STAGES.register("profile")
def profiles(plan: Plan, progress: LimitedProgress) -> Iterator[Work]:
    """A profile of each target."""
    for place in plan.places():
        run = partial(measure_profile, place.target, place.profile, plan.asked, progress)
        yield Work(f"the profile of {place.target}", lambda: 0.0, run)


@STAGES.register("held-out")
def held_out(plan: Plan, progress: LimitedProgress) -> Iterator[Work]:
    """The held-out students of each target, some time after its profile."""
    for place in plan.places():
        run = partial(measure_held_out, place, plan.asked, progress)
        yield Work(f"the held-out students of {place.target}", _later(place, plan.wait_minutes), run)


@STAGES.register("again")
def again(plan: Plan, progress: LimitedProgress) -> Iterator[Work]:
    """A second profile of some targets, some time after the first."""
    for place in plan.places():
        if place.target in plan.again:
            run = partial(measure_profile, place.target, place.again, plan.asked, progress)
            yield Work(f"a second profile of {place.target}", _later(place, plan.again_minutes), run)


def works(plan: Plan, stages: Sequence[str], progress: LimitedProgress) -> list[Work]:
    """All works of the measuring stages among `stages`."""
    return [work for name in STAGES if name in stages for work in STAGES[name](plan, progress)]
