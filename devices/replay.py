"""A target that looks latencies up instead of timing: recorded samples, else an estimate with repeatable noise.

Whatever must be equal to the bit (resumed runs, other executors, seeds) is tested on it, since milliseconds never
repeat.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import cycle
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from devices.fingerprint import Fingerprint
from devices.machine import Machine
from devices.target import Artifact, DescriptionArtifact, Session, Target, wrong_artifact
from devices.workload import Precision, Workload

NOISE = 0.01
"""Standard deviation of an estimated sample relative to the estimate: what medians move from process to process."""

Estimate = Callable[[dict[str, Any], Workload], tuple[str, float]]
"""Description, workload → (what identifies its shape wherever it lies, its estimated ms)."""


class ReplaySession(Session):
    """Serves one latency after another, from the start each time it is opened."""

    def __init__(self, latencies: Iterator[float]) -> None:
        self._latencies = latencies

    def run(self) -> list[npt.NDArray[np.float32]]:
        """Nothing runs here, so there are no outputs."""
        return []

    def time_ms(self) -> float:
        return next(self._latencies)


def estimated(identity: str, workload: Workload, estimate_ms: float) -> Iterator[float]:
    """Endless samples around an estimate; the same for the same identity, workload and estimate."""
    digest = hashlib.sha256(f"{identity}|{workload.key}".encode()).digest()
    rng = np.random.default_rng(int.from_bytes(digest[:8]))
    while True:
        # A normal draw beyond ten standard deviations does not happen; the bound only keeps a latency positive.
        yield estimate_ms * max(1.0 + NOISE * float(rng.standard_normal()), 0.5)


class ReplayTarget(Target):
    """Stands for the target whose samples were recorded, on the machine that recorded them."""

    name = "replay"
    artifact = "description"
    precisions = get_args(Precision)
    clocked = False

    def __init__(
        self,
        recorded: Mapping[tuple[str, Workload], Sequence[float]],
        estimate: Estimate,
        recorded_by: Fingerprint,
    ) -> None:
        self._recorded = recorded
        self._estimate = estimate
        self._by = recorded_by

    @property
    def stands_for(self) -> str:
        return self._by.target

    def machine(self) -> Machine:
        by = self._by
        return Machine(by.processor, by.architecture, by.cores, by.memory_gib, by.system, by.python)

    def runtime(self) -> dict[str, str]:
        return self._by.runtime

    def open(self, artifact: Artifact, workload: Workload) -> Session:
        self.check(workload)
        if not isinstance(artifact, DescriptionArtifact):
            raise wrong_artifact(self, artifact)
        recorded = self._recorded.get((artifact.key, workload))
        if recorded:
            return ReplaySession(cycle(recorded))
        identity, estimate_ms = self._estimate(artifact.description, workload)
        return ReplaySession(estimated(identity, workload, estimate_ms))
