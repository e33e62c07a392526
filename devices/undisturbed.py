"""How long a model takes when nothing else wants the machine: what a predictor can learn.

Whatever disturbs a machine makes it slower, and on a shared one that may be most of the time: its virtual processors
are two cores for one minute and two halves of one core for the next, and what that costs a model is the model's own. A
median then says as much of the neighbours as of the model, and no reference divides it out. The fastest of many
samples, taken in several processes minutes apart, repeats. Where even that found no quiet moment, the reference says
so.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp, log

import numpy as np

from devices.measurement import Sample
from devices.reference import Circumstance, circumstance, fastest_ms, reference_samples, reference_workload
from devices.workload import Precision, Workload

OWN_SHARE = 0.5
"""How much of what the reference lost beside a model is taken for the model's loss; the rest is the average over all
models. The reference runs just before or after, and is now and then alone in what it met."""


@dataclass(frozen=True)
class Undisturbed:
    """`latency_ms` is the fastest sample over all processes, less what the reference lost even beside it.

    `process_ms` are the processes' own, fastest first. `unsure_percent`, how much longer the second of them took than
    the first, is about as far as the first is from the true floor (exactly so on average, where delays are exponential
    and processes many); 0 where there is but one process.
    """

    key: str
    workload: Workload
    latency_ms: float
    process_ms: tuple[float, ...]
    unsure_percent: float
    samples: int


def _beside(samples: Sequence[Sample], references: Mapping[Circumstance, Sequence[Sample]]) -> dict[int, float]:
    """Place of a sample → ms of the reference's nearest sample in its process, threads and precision."""
    known = {}
    for at, found in references.items():
        ordered = sorted(found, key=lambda sample: sample.taken_at)
        moments = np.array([sample.taken_at for sample in ordered])
        known[at] = moments, [sample.milliseconds for sample in ordered]
    nearest = {}
    for place, sample in enumerate(samples):
        if (at := circumstance(sample)) in known:
            moments, values = known[at]
            nearest[place] = values[int(np.argmin(np.abs(moments - sample.taken_at)))]
    return nearest


def _losses(
    samples: Sequence[Sample], cells: Mapping[tuple[str, Workload], Sequence[int]], reference_key: str
) -> dict[tuple[str, Workload], float]:
    """Log of how many times as long as ever the reference took beside each cell, at best."""
    references = reference_samples(samples, reference_key)
    floors, beside = fastest_ms(references), _beside(samples, references)
    own: dict[tuple[int, Precision], dict[tuple[str, Workload], float]] = defaultdict(dict)
    for cell, places in cells.items():
        kind = cell[1].threads, cell[1].precision
        near = [beside[place] for place in places if place in beside]
        if near and cell != (reference_key, reference_workload(cell[1])):
            own[kind][cell] = log(min(near) / floors[kind])
    losses: dict[tuple[str, Workload], float] = {}
    for lost in own.values():
        average = float(np.mean(list(lost.values())))
        losses |= {cell: OWN_SHARE * loss + (1 - OWN_SHARE) * average for cell, loss in lost.items()}
    return losses


def undisturbed(samples: Sequence[Sample], reference_key: str | None = None) -> dict[tuple[str, Workload], Undisturbed]:
    """One a (key, workload); without a reference nothing is known of what was lost, and 0 assumed."""
    cells: dict[tuple[str, Workload], list[int]] = defaultdict(list)
    for place, sample in enumerate(samples):
        cells[sample.key, sample.workload].append(place)
    losses = {} if reference_key is None else _losses(samples, cells, reference_key)
    found = {}
    for cell, places in cells.items():
        fastest: dict[int, float] = {}
        for place in places:
            sample = samples[place]
            fastest[sample.process] = min(sample.milliseconds, fastest.get(sample.process, sample.milliseconds))
        ordered = tuple(sorted(fastest.values()))
        unsure = 100 * (ordered[1] / ordered[0] - 1) if len(ordered) > 1 else 0.0
        latency = ordered[0] * exp(-losses.get(cell, 0.0))
        found[cell] = Undisturbed(*cell, latency, ordered, unsure, len(places))
    return found
