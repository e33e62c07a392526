"""What is timed, one timed sample of it, and what its samples come to, as data."""

from dataclasses import asdict, dataclass
from typing import Any

from devices.workload import Workload


@dataclass(frozen=True)
class Cell:
    """What is measured: the item of that key under one workload of its own."""

    key: str
    workload: Workload


@dataclass(frozen=True)
class Sample:
    """The median duration of a few runs in a row, `taken_at` seconds since 1970; (key, workload, process, round) is
    unique."""

    key: str
    workload: Workload
    process: int
    round: int
    milliseconds: float
    taken_at: float

    def to_json(self) -> dict[str, Any]:
        """Plain numbers and names; `from_json` is the inverse."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Sample":
        """Read `to_json`'s form."""
        return cls(**{**value, "workload": Workload(**value["workload"])})


@dataclass(frozen=True)
class Turn:
    """What became of one process's turn at a batch of cells; (process, started_at) is unique.

    `repeated_rounds` were disturbed and taken again, `stolen_seconds` are those that a hypervisor gave to others,
    summed over cores, and `paused_seconds` were waited for a machine that had become slow.
    """

    process: int
    started_at: float
    seconds: float
    rounds: int
    repeated_rounds: int
    stolen_seconds: float
    paused_seconds: float

    def to_json(self) -> dict[str, Any]:
        """Plain numbers; `Turn(**value)` is the inverse."""
        return asdict(self)


@dataclass(frozen=True)
class Measurement:
    """`p50_ms` is the median of the process medians; `p90_ms` the 90th percentile of all samples.

    The noise floor is the standard deviation of the process medians (of the samples, where one process ran) in percent
    of `p50_ms`: two latencies closer than that cannot be told apart.
    """

    key: str
    workload: Workload
    p50_ms: float
    p90_ms: float
    process_medians_ms: tuple[float, ...]
    noise_floor_percent: float
    samples: int

    def to_json(self) -> dict[str, Any]:
        """Plain numbers and names."""
        return {**asdict(self), "process_medians_ms": list(self.process_medians_ms)}
