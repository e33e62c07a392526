"""What a search promises: so many milliseconds, at most, for one inference of a workload."""

from dataclasses import dataclass
from math import isfinite

from devices.measurement import Measurement
from devices.workload import Workload
from runs.errors import UserError


@dataclass(frozen=True)
class Budget:
    """Milliseconds that the median over processes of one inference of `workload` may take.

    Raises:
        UserError: zero, a negative number, NaN, infinity, or not a number at all.
    """

    workload: Workload
    latency_ms: float
    one_of_several: bool = False
    """Whether there are others of as many milliseconds, in other precisions."""

    def __post_init__(self) -> None:
        number = isinstance(self.latency_ms, int | float) and not isinstance(self.latency_ms, bool)
        if not number or not isfinite(self.latency_ms) or self.latency_ms <= 0:
            raise UserError(f"--budget-ms is {self.latency_ms!r}: it must be a number of milliseconds above 0.")

    @property
    def label(self) -> str:
        """Name for folders, studies and stages: `15ms`, `7.5ms`, of several `15ms-int8`."""
        return f"{self.latency_ms:.12g}ms" + (f"-{self.workload.precision}" if self.one_of_several else "")

    def holds(self, measurement: Measurement) -> bool:
        """Whether a measurement keeps the promise: its median over processes is within the budget."""
        return measurement.p50_ms <= self.latency_ms
