"""Telling a machine's usual speed from the others that it has for a while.

The virtual processors of a shared machine are at times two halves of one core: two threads then take half as long
again and one takes as long as ever, for seconds or a minute. How much slower that makes a model is the model's own, so
that no reference can divide it out: such samples are left out instead, wherever a model has others.
"""

from collections import defaultdict
from collections.abc import Sequence
from math import log

import numpy as np
import numpy.typing as npt

from devices.measurement import Sample
from devices.reference import circumstance, reference_samples, usual_speeds
from devices.workload import Workload

Flags = npt.NDArray[np.bool_]

SHIFT = 1.12
"""A reference that takes this many times as long as usual, or as short, is in another mode: most drift within a mode is
slower than that, and noise is smaller."""

FEWEST = 3
"""Samples that a cell keeps at least, the least shifted ones."""


def shifts(samples: Sequence[Sample], reference_key: str) -> npt.NDArray[np.float64]:
    """By how much, in log ms, the machine was off its usual speed while each sample [n] was taken.

    It is the larger of what the reference was off just before and just after, in the same process, threads and
    precision; 0 where nobody knows.
    """
    references = reference_samples(samples, reference_key)
    usual = usual_speeds(references)
    known = {}
    for at, found in references.items():
        ordered = sorted(found, key=lambda sample: sample.taken_at)
        off = np.abs(np.log([sample.milliseconds / usual[at[1:]] for sample in ordered]))
        known[at] = np.array([sample.taken_at for sample in ordered]), off
    result = np.zeros(len(samples))
    for place, sample in enumerate(samples):
        if (at := circumstance(sample)) in known:
            moments, off = known[at]
            after = int(np.searchsorted(moments, sample.taken_at))
            its_own = after < len(moments) and moments[after] == sample.taken_at
            result[place] = off[max(after - (not its_own), 0) : after + 1].max()
    return result


def in_usual_mode(samples: Sequence[Sample], reference_key: str) -> Flags:
    """Whether each sample [n] was taken while the machine ran at its usual speed, as far as anybody knows."""
    return shifts(samples, reference_key) <= log(SHIFT)


def counting(samples: Sequence[Sample], reference_key: str) -> Flags:
    """Which samples [n] count: those in the usual mode and, of a cell that has hardly any, the least shifted ones."""
    off = shifts(samples, reference_key)
    cells: dict[tuple[str, Workload], list[int]] = defaultdict(list)
    for place, sample in enumerate(samples):
        cells[sample.key, sample.workload].append(place)
    counts = off <= log(SHIFT)
    for places in cells.values():
        least = sorted(places, key=lambda place: off[place])[:FEWEST]
        if not counts[least].all():
            counts[least] = True
    return counts


def believed(samples: Sequence[Sample], reference_key: str) -> list[Sample]:
    """The samples that count."""
    return [sample for sample, counts in zip(samples, counting(samples, reference_key), strict=True) if counts]
