"""Everything that a profile measured, summed up."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from devices.measurement import Sample
from devices.stability import Stability, stability
from devices.store import SampleStore
from export.items import Item
from profiler.observed import Measurements, measured_so_far
from profiler.plan import Plan
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


def read_evidence(store: SampleStore, plan: Plan) -> Evidence:
    """What the store holds of the plan's models; a `UserError` where no fresh student was timed in enough processes."""
    measurements = measured_so_far(store, plan.reference, plan.visits)
    measured = {key for key, _ in measurements}
    fit, check = ({key: item for key, item in part.items() if key in measured} for part in (plan.fit, plan.check))
    if not check:
        raise UserError("there was no time to measure a fresh student: give more --minutes, or a smaller --effort.")
    samples = store.samples()
    steadiness = stability(samples, plan.reference, store.turns())
    return Evidence(fit, check, plan.reference, samples, measurements, steadiness)
