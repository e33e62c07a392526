"""What samples come to for a fit: observations of blocks, and predictions beside them."""

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from devices.measurement import Cell
from devices.store import SampleStore
from devices.undisturbed import Undisturbed, undisturbed
from devices.workload import Workload
from export.items import Item, Stack, item_blocks
from predictor.latency import LatencyPredictor
from predictor.observation import Circumstances, Observation, circumstances
from profiler.workloads import WorkloadRange
from students.table import BlockTable

MISSED_PERCENT = 3.0
"""Of a latency: about what a law misses of a model that was measured without noise."""

Measurements = Mapping[tuple[str, Workload], Undisturbed]


def measured_so_far(store: SampleStore, reference: str, visits: int) -> dict[tuple[str, Workload], Undisturbed]:
    """Everything in the store that was timed in as many processes or more, as it is on an undisturbed machine."""
    found = undisturbed(store.samples(), reference)
    return {place: one for place, one in found.items() if len(one.process_ms) >= visits}


def only(measurements: Measurements, cells: Collection[Cell]) -> dict[tuple[str, Workload], Undisturbed]:
    """The measurements of these cells, as far as there are any."""
    places = [(cell.key, cell.workload) for cell in cells]
    return {place: measurements[place] for place in places if place in measurements}


def only_within(measurements: Measurements, part: WorkloadRange) -> dict[tuple[str, Workload], Undisturbed]:
    """The measurements on workloads of a range."""
    return {place: one for place, one in measurements.items() if part.holds(place[1])}


def _weights(measurements: Measurements) -> dict[tuple[str, Workload], float]:
    """How much each counts beside one as sure as most, since a law misses some of any.

    Two processes say little about how sure a model is, so that what others on the same threads and in the same
    precision show counts as much.
    """
    unsure: dict[Circumstances, list[float]] = defaultdict(list)
    for (_, workload), one in measurements.items():
        unsure[circumstances(workload)].append(one.unsure_percent)
    usual = {pair: float(np.median(found)) for pair, found in unsure.items()}
    weights = {}
    for place, one in measurements.items():
        typical = usual[circumstances(place[1])]
        own = (typical**2 + one.unsure_percent**2) / 2
        weights[place] = (MISSED_PERCENT**2 + typical**2) / (MISSED_PERCENT**2 + own)
    return weights


def observations(items: Mapping[str, Item], measurements: Measurements) -> list[Observation]:
    """What the predictor learns from, or is checked on: the measured latency of each item's blocks.

    Those of `items` alone, in the order of the measurements.
    """
    blocks = {key: item_blocks(item) or () for key, item in items.items()}
    weights = _weights(measurements)
    return [
        Observation(
            blocks[key], not isinstance(items[key], Stack), workload, measurement.latency_ms, weights[key, workload]
        )
        for (key, workload), measurement in measurements.items()
        if key in items
    ]


def _by_workload(
    asked: Sequence[Observation], answer: Callable[[BlockTable, Workload], npt.NDArray[np.float64]], columns: int
) -> npt.NDArray[np.float64]:
    """What `answer` says [rows, columns] of the rows of each workload, in the order of the observations."""
    places: dict[Workload, list[int]] = {}
    for place, one in enumerate(asked):
        places.setdefault(one.workload, []).append(place)
    found = np.zeros((len(asked), columns))
    for workload, rows in places.items():
        found[rows] = answer(BlockTable.from_blocks([asked[row].blocks for row in rows]), workload)
    return found


def predicted_ms(predictor: LatencyPredictor, asked: Sequence[Observation]) -> npt.NDArray[np.float64]:
    """Milliseconds [n] that the predictor gives for the blocks and workloads of observations."""
    return _by_workload(asked, lambda table, workload: predictor.predict(table, workload)[:, None], 1)[:, 0]


def predicted_ends(predictor: LatencyPredictor, asked: Sequence[Observation]) -> npt.NDArray[np.float64]:
    """Low and high ends [n, 2] of its 90 % interval, in milliseconds."""
    return _by_workload(asked, lambda table, workload: np.column_stack(predictor.predict_interval(table, workload)), 2)


def off_percent(predicted: npt.NDArray[np.float64], asked: Sequence[Observation]) -> npt.NDArray[np.float64]:
    """How far each prediction [n] lies from what was measured, in per cent of that."""
    measured = np.array([one.latency_ms for one in asked])
    result: npt.NDArray[np.float64] = 100 * np.abs(predicted / measured - 1)
    return result
