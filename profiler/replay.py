"""The target `replay:DIR`: a device profile in place of the device."""

from collections import defaultdict
from pathlib import Path
from typing import Any

from devices.replay import ReplayTarget
from devices.store import SampleStore
from devices.target import TARGETS, Target
from devices.workload import Workload
from export.items import item_blocks, item_from_json
from profiler.folder import STORE_FILE, load_profile
from runs.errors import UserError
from runs.files import content_hash
from students.table import BlockTable


@TARGETS.register(ReplayTarget.name)
def replay(rest: str) -> Target:
    """The profile in folder `rest`: its samples as they were clocked, its predictor for everything else.

    What is predicted is as disturbed as the machine usually was.
    """
    if not rest:
        raise UserError("target 'replay' replays a device profile: name its folder, --target replay:DIR.")
    profile = load_profile(Path(rest))
    recorded: dict[tuple[str, Workload], list[float]] = defaultdict(list)
    with SampleStore(profile.folder / STORE_FILE, read_only=True) as store:
        for sample in store.samples():
            recorded[sample.key, sample.workload].append(sample.milliseconds)

    def estimate(description: dict[str, Any], workload: Workload) -> tuple[str, float]:
        blocks = item_blocks(item_from_json(description))
        if blocks is None:
            raise UserError(
                f"target 'replay' knows shapes, and {description} has none to see: give a checkpoint folder or a spec."
            )
        # The shape and not the description: a checkpoint must replay alike in whichever folder it lies.
        alone = float(profile.predictor.predict(BlockTable.from_blocks([blocks]), workload)[0])
        return content_hash(repr(blocks)), alone * profile.disturbance(workload).usual

    return ReplayTarget(recorded, estimate, profile.fingerprint)
