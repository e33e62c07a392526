"""A profile that is measured in seconds, and interrupted on the way: few models of four tokens, and one round."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from devices.measurement import Sample
from devices.stopwatch import Policy
from devices.store import SampleStore
from devices.workload import Workload
from profiler.folder import STORE_FILE
from profiler.plan import EFFORTS, Effort
from profiler.profile import Profile, profile_device
from profiler.workloads import WorkloadRange
from runs.progress import Progress

TARGET = "onnxruntime"
"""Its measuring processes are there in half the time of those of `cpu`, which wait for `transformers`."""

WORKLOAD = Workload(1, 4)
ALONE = WorkloadRange.of(WORKLOAD)

EFFORTS.register("tiny")(
    Effort(
        {"hybrid": 16, "single-blocks": 4, "narrow-stacks": 4},
        check_students=4,
        most_flops=1e12,
        anchor_flops=1e12,
        minutes=10.0,
        policy=Policy(rounds=2, warmup_runs=1, sample_ms=1.0),
        rounds=1,
        processes=2,
        anchors=(),
    )
)


@contextmanager
def interrupted(after: int) -> Iterator[None]:
    """Whatever measures is interrupted when so many samples are stored."""
    whole, left = SampleStore.add, [after]

    def add(store: SampleStore, sample: Sample) -> None:
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        whole(store, sample)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(SampleStore, "add", add)
        yield


def make_tiny_profile(home: Path) -> tuple[Profile, list[Sample]]:
    """The profile in a home folder of its own, and the samples that it had when it was interrupted."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TAILORBIRD_HOME", str(home))
        patch.setattr("profiler.active.CANDIDATES", 6)
        with interrupted(after=50):
            profile_device(TARGET, ALONE, "tiny", progress=Progress(quiet=True))
        (folder,) = (home / "profiles").iterdir()
        with SampleStore(folder / STORE_FILE, read_only=True) as store:
            before = store.samples()
        return profile_device(TARGET, ALONE, "tiny", progress=Progress(quiet=True)), before
