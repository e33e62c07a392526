"""How much faster one file is than another: paired in time, with an interval over processes and rounds."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from devices.measurement import Sample

DRAWS = 2000
COVERAGE = 0.95


@dataclass(frozen=True)
class Ratio:
    """Time of one over time of the other: below 1 the first is faster."""

    ratio: float
    low: float
    high: float
    processes: tuple[float, ...]
    """The median ratio of each process."""

    def to_json(self) -> dict[str, Any]:
        """Plain numbers."""
        return {**asdict(self), "processes": list(self.processes)}


def _bounds(drawn: Sequence[float]) -> tuple[float, float]:
    low, high = np.quantile(drawn, [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2])
    return float(low), float(high)


def paired_ratio(samples: Iterable[Sample], first: str, second: str, seed: int = 0) -> Ratio:
    """`first` over `second`, from samples of the same round of the same process, which the same drift has met.

    The median over processes of each process's median; the interval draws processes, and rounds in them, anew.
    Raises `ValueError` where no round has both.
    """
    found: dict[int, dict[int, dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
    for sample in samples:
        if sample.key in (first, second):
            found[sample.process][sample.round][sample.key] = sample.milliseconds
    pairs = [
        np.array([both[first] / both[second] for both in rounds.values() if len(both) == len({first, second})])
        for rounds in found.values()
    ]
    pairs = [ratios for ratios in pairs if ratios.size]
    if not pairs:
        raise ValueError(f"{first} and {second} never ran in one round")
    medians = tuple(float(np.median(ratios)) for ratios in pairs)
    rng = np.random.default_rng(seed)
    drawn = []
    for _ in range(DRAWS):
        chosen = rng.integers(len(pairs), size=len(pairs))
        again = [np.median(rng.choice(pairs[process], size=pairs[process].size)) for process in chosen]
        drawn.append(float(np.median(again)))
    return Ratio(float(np.median(medians)), *_bounds(drawn), medians)


def median_ratio(ratios: Sequence[Ratio], seed: int = 0) -> Ratio:
    """The median over shapes, `processes` being the ratio of each shape; the interval draws each shape's processes."""
    rng = np.random.default_rng(seed)
    drawn = [
        float(np.median([np.median(rng.choice(one.processes, size=len(one.processes))) for one in ratios]))
        for _ in range(DRAWS)
    ]
    shapes = tuple(one.ratio for one in ratios)
    return Ratio(float(np.median(shapes)), *_bounds(drawn), shapes)
