"""Everything that a profile measured, summed up."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from devices.disturbance import Disturbances, disturbances
from devices.measurement import Sample
from devices.stability import Stability, stability
from devices.store import SampleStore
from export.items import Item, item_from_json
from profiler.observed import Measurements, measured_so_far
from profiler.population import is_check
from runs.errors import UserError


@dataclass(frozen=True)
class Evidence:
    """Models that were learned from and fresh students by key, samples, what they come to, and how steady they were."""

    fit: Mapping[str, Item]
    check: Mapping[str, Item]
    reference: str
    samples: Sequence[Sample]
    measurements: Measurements
    steadiness: Stability

    @cached_property
    def disturbances(self) -> Disturbances:
        """How much longer than undisturbed everything that was measured took, by threads and precision."""
        return disturbances(self.samples, self.measurements)


def read_evidence(store: SampleStore, reference: str, visits: int) -> Evidence:
    """What the store holds, whatever plan it was measured by: models that `visits` processes or more have timed.

    Raises `UserError` where no fresh student is among them.
    """
    measurements = measured_so_far(store, reference, visits)
    measured = {key for key, _ in measurements}
    items = {key: item_from_json(value) for key, value in store.items().items() if key in measured}
    fit = {key: item for key, item in items.items() if not is_check(item)}
    check = {key: item for key, item in items.items() if is_check(item)}
    if not check:
        raise UserError("there was no time to measure a fresh student: give more --minutes, or a smaller --effort.")
    samples = store.samples()
    steadiness = stability(samples, reference, store.turns())
    return Evidence(fit, check, reference, samples, measurements, steadiness)
