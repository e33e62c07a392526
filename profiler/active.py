"""Where a predictor is least sure: a committee of fits to parts of what was measured, and what it disagrees on."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
import numpy.typing as npt

from devices.measurement import Cell
from devices.workload import Precision, Workload
from export.items import Item, Stack, item_blocks, item_key
from predictor.circumstances import FEWEST_ADAPTED, FEWEST_WHOLE
from predictor.latency import LatencyPredictor
from predictor.observation import Circumstances, Observation, circumstances
from profiler.observed import off_percent, predicted_ms
from profiler.plan import Allotment, Effort, affordable, positions_for
from profiler.population import POPULATIONS, Drawing
from profiler.workloads import WorkloadRange
from students.spec import Block, LayerBlock

Vector = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float64]

MEMBERS = 3
"""Each member learns from two thirds of the models, and is tested on the third that it did not see."""

CANDIDATES = 160
"""Models looked at in a round, in the shares of the effort's populations of whole students."""

STUDENT_KINDS = ("hybrid", "kd-nas", "outside", "mixed", "writers")


@dataclass(frozen=True)
class Committee:
    """Predictors that each know other models, and the mean error in per cent on whole students that each did not."""

    members: tuple[LatencyPredictor, ...]
    error_percent: float

    def disagreement(self, asked: Sequence[Observation]) -> Vector:
        """Standard deviation [n] of the logarithm of what the members predict; their latencies are not looked at."""
        guesses = np.stack([predicted_ms(member, asked) for member in self.members])
        result: Vector = np.log(guesses).std(axis=0)
        return result


def form_committee(seen: Sequence[Observation], seed: int) -> Committee | None:
    """A committee on what was measured; None where a part of it would be too few whole students to fit."""
    places: dict[tuple[Block, ...], int] = {}
    models = np.array([places.setdefault(one.blocks, len(places)) for one in seen])
    part = np.random.default_rng([seed, 11]).permutation(len(places))[models] % MEMBERS
    members, misses = [], []
    for number in range(MEMBERS):
        known = [one for one, mine in zip(seen, part, strict=True) if mine != number]
        if not enough_whole(known, {circumstances(one.workload) for one in seen}):
            return None
        members.append(LatencyPredictor.fit(known, seed=seed))
        asked = [one for one, mine in zip(seen, part, strict=True) if mine == number and one.whole]
        misses.append(off_percent(predicted_ms(members[-1], asked), asked))
    return Committee(tuple(members), float(np.concatenate(misses).mean()))


def enough_whole(seen: Sequence[Observation], pairs: Collection[Circumstances]) -> bool:
    """Whether there are as many whole students with each of these threads and precisions as a predictor needs."""
    students: dict[Circumstances, set[tuple[Block, ...]]] = {pair: set() for pair in pairs}
    for one in seen:
        if one.whole and circumstances(one.workload) in students:
            students[circumstances(one.workload)].add(one.blocks)
    counts = [len(known) for known in students.values()]
    return max(counts, default=0) >= FEWEST_WHOLE and min(counts) >= FEWEST_ADAPTED


@dataclass(frozen=True)
class Candidate:
    """A model and the workloads that it would be measured on."""

    item: Item
    cells: tuple[Cell, ...]

    def asked(self) -> list[Observation]:
        """What a predictor is asked about it; the latency is not known yet."""
        blocks = item_blocks(self.item) or ()
        return [Observation(blocks, not isinstance(self.item, Stack), cell.workload, 1.0) for cell in self.cells]


def candidates(
    effort: Effort, among: WorkloadRange, seed: tuple[int, ...], known: Mapping[str, Item]
) -> list[Candidate]:
    """Whole students that were not planned, in the shares of the effort's populations, each with workloads."""
    amounts = effort.amounts_for(among)
    shares = {kind: amounts[kind] for kind in STUDENT_KINDS if amounts.get(kind)}
    cheap = affordable(among, effort.most_flops)
    allotment = Allotment(among, effort.most_flops, np.random.default_rng([*seed, 0]))
    found = []
    for number, (kind, share) in enumerate(shares.items(), start=1):
        count = round(CANDIDATES * share / sum(shares.values()))
        drawing = Drawing((*seed, number), positions=positions_for(among), wanted=cheap)
        for item in POPULATIONS[kind](count, drawing):
            cells = allotment.cells(item)
            if item_key(item) not in known and cells:
                found.append(Candidate(item, tuple(cells)))
    return found


def coordinates(asked: Sequence[Observation]) -> Matrix:
    """Where each model and workload lies [n, f]: logarithms of its sizes, and its precision."""
    return np.array([_coordinates(one.blocks, one.workload) for one in asked])


def _coordinates(blocks: tuple[Block, ...], workload: Workload) -> list[float]:
    layers = [block for block in blocks if isinstance(block, LayerBlock)]
    flops = sum(block.flops(workload.batch_size, workload.sequence_length) for block in blocks)
    sizes = (
        flops + 1,
        sum(block.parameters() for block in layers) + 1,
        len(layers) + 1,
        blocks[0].hidden_width,
        workload.sequence_length,
        workload.batch_size,
        workload.threads,
    )
    # No precision lies between two others.
    return [*np.log(sizes).tolist(), *(float(workload.precision == precision) for precision in get_args(Precision))]


def spread_out(points: Matrix, worth: Vector, taken: Matrix, count: int) -> list[int]:
    """Places of `count` points, taken one by one for their worth [n] times the distance to the nearest one taken.

    `taken` [m, f] are there already; each coordinate counts in its standard deviations over `points` [n, f]. A point
    so far from all others that it would always win counts no more than one at the median distance.
    """
    scale = points.std(axis=0)
    scale[scale == 0] = 1.0
    here, there = points / scale, taken / scale
    chosen: list[int] = []
    if not len(there):
        # Nothing is known of distances yet: the first is the one in the middle.
        chosen = [int(np.argmin(np.linalg.norm(here - np.median(here, axis=0), axis=1)))][:count]
        there = here[chosen]
    nearest = np.full(len(points), np.inf)
    for other in there:
        nearest = np.minimum(nearest, np.linalg.norm(here - other, axis=1))
    usual = max(float(np.median(nearest)), np.finfo(float).tiny)
    left = np.ones(len(points), dtype=bool)
    left[chosen] = False
    while left.any() and len(chosen) < count:
        best = int(np.argmax(np.where(left, worth * np.minimum(nearest / usual, 1.0), -1.0)))
        chosen.append(best)
        left[best] = False
        nearest = np.minimum(nearest, np.linalg.norm(here - here[best], axis=1))
    return chosen


def least_sure(
    committee: Committee, among: Sequence[Candidate], seen: Sequence[Observation], count: int
) -> list[Candidate]:
    """The `count` candidates that the committee disagrees on most, no two of them alike, the least sure first."""
    asked = [candidate.asked() for candidate in among]
    flat = [one for several in asked for one in several]
    ends = np.cumsum([len(several) for several in asked])[:-1]
    doubts = np.array([part.mean() for part in np.split(committee.disagreement(flat), ends)])
    points = np.array([part.mean(axis=0) for part in np.split(coordinates(flat), ends)])
    return [among[place] for place in spread_out(points, doubts, coordinates(seen), count)]
