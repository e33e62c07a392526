"""A device profile on disk: read, found, and checked against the device it is used for."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import devices.targets  # noqa: F401  (fills the registry)
from devices.disturbance import Disturbance, Disturbances, disturbances_from_json
from devices.fingerprint import SCHEMA, Fingerprint, fingerprint
from devices.target import open_target
from devices.workload import Workload
from export.lowering import LOWERING_VERSION
from predictor.features import FEATURES
from predictor.latency import LatencyPredictor
from predictor.observation import circumstances
from profiler.workloads import WorkloadRange
from runs.errors import UserError
from runs.files import content_hash, read_json
from runs.home import home_folder

DEVICE_FILE = "device.json"
STORE_FILE = "measurements.sqlite"
PREDICTOR_FILE = "predictor.json"
REPORT_FILE = "report.html"

PREFERENCE = ("onnxruntime", "openvino", "cpu", "cuda")
"""Whose profile is taken where this machine has several."""

ADAPTED = "adapted"
"""The effort of a profile that was adapted from another by a few measurements."""

THOROUGHNESS = (ADAPTED, "quick", "standard", "thorough")


@dataclass(frozen=True)
class Profile:
    """What is known about a device: where it lies, what was measured on what, and the predictor learned from it.

    `check` has, by the key of each pair of threads and precision, the number of fresh whole `students`, their
    `noise_floor_percent`, how many the 90 % interval `covered_percent`, and `errors` by method: the predictor's own
    beside the baselines'. `stability` and `error_budget` are numbers and a sentence (`words`) each; `disturbances` say
    by threads and precision how much longer than undisturbed models took; `adapted_from` says which profile the
    predictor comes from, where it was adapted.
    """

    folder: Path
    target: str
    fingerprint: Fingerprint
    predictor: LatencyPredictor = field(compare=False)
    workloads: WorkloadRange
    effort: str
    seed: int
    check: dict[str, Any]
    stability: dict[str, Any]
    disturbances: Disturbances
    error_budget: dict[str, Any]
    adapted_from: dict[str, Any] | None
    seconds: float
    finished_at: float

    def disturbance(self, workload: Workload) -> Disturbance:
        """What turns the workload's undisturbed latencies into clocked ones, as this machine was then.

        None at all for threads and a precision that were not measured.
        """
        return self.disturbances.get(circumstances(workload), Disturbance())


FEATURES_MARK = content_hash(list(FEATURES))
"""Changes when a predictor's features do: what was measured then stays true, and is only to be learnt anew."""

FITTED = f"fit {FEATURES_MARK}"
"""Name of the stage that learns from what was measured."""


OUTDATED = "the profile in {} is an older version's: learning anew from what it measured"


def is_outdated(folder: Path) -> bool:
    """Whether the folder has a finished profile that lacks what this version learns from samples.

    Its predictor may have other features, or nothing says how disturbed the machine was. Of a profile of another
    schema nothing is known: `load_profile` says what to do.
    """
    path = folder / DEVICE_FILE
    if not path.is_file():
        return False
    value = read_json(path, "device profile")
    known = isinstance(value, dict) and value.get("schema") == SCHEMA
    return known and (value.get("features") != FEATURES_MARK or "disturbances" not in value)


def load_profile(folder: Path) -> Profile:
    """Read a finished profile; a `UserError` where there is none, or one of another schema."""
    if not (folder / DEVICE_FILE).is_file():
        state = "is not finished" if (folder / STORE_FILE).is_file() else "is not a device profile"
        raise UserError(f"{folder} {state}: it has no {DEVICE_FILE}; run profile-device with --output {folder}.")
    value = read_json(folder / DEVICE_FILE, "device profile")
    schema = value.get("schema") if isinstance(value, dict) else None
    if schema != SCHEMA:
        raise UserError(f"{folder / DEVICE_FILE} has schema {schema}, and this version reads {SCHEMA}: profile again.")
    try:
        return Profile(
            folder=folder,
            target=value["target"],
            fingerprint=Fingerprint.from_json(value["fingerprint"]),
            predictor=LatencyPredictor.load(folder / PREDICTOR_FILE),
            workloads=WorkloadRange.from_json(value["workloads"]),
            effort=value["effort"],
            seed=value["seed"],
            check=value["check"],
            stability=value["stability"],
            disturbances=disturbances_from_json(value["disturbances"]),
            error_budget=value["error_budget"],
            adapted_from=value["adapted_from"],
            seconds=value["seconds"],
            finished_at=value["finished_at"],
        )
    except (KeyError, TypeError) as problem:
        raise UserError(f"{folder / DEVICE_FILE} is not a whole device profile ({problem}): profile again.") from None


def check_profile(profile: Profile, target: str) -> None:
    """Raise `UserError` where the profile's latencies are not those of what `target` reaches, naming each reason."""
    differences = profile.fingerprint.differences(fingerprint(open_target(target), LOWERING_VERSION))
    if differences:
        raise UserError(
            f"the profile {profile.folder} is not of what target {target!r} reaches here: {'; '.join(differences)} "
            f"differs; profile again with profile-device --target {target}."
        )


def find_profile(target: str | None, *workloads: Workload) -> Profile | None:
    """This machine's profile for `target`, or where none is named its only one or the first in `PREFERENCE`.

    Only profiles within whose range all the workloads lie and whose fingerprint still holds are considered; of several
    the most thorough, then the newest. None where there is none.
    """
    found = [profile for profile in _home_profiles() if all(map(profile.workloads.holds, workloads))]
    if target is not None:
        found = [profile for profile in found if profile.target == target]
    valid = [profile for profile in found if _still_valid(profile)]
    return min(valid, key=_rank, default=None)


def _home_profiles() -> Iterator[Profile]:
    for file in sorted(home_folder("profiles").glob(f"*/{DEVICE_FILE}")):
        try:
            yield load_profile(file.parent)
        except UserError:
            # One that this version cannot read is no reason to fail where nobody asked for it.
            continue


def _still_valid(profile: Profile) -> bool:
    try:
        check_profile(profile, profile.target)
    except UserError:
        return False
    return True


def _rank(profile: Profile) -> tuple[int, int, float]:
    preferred = PREFERENCE.index(profile.target) if profile.target in PREFERENCE else len(PREFERENCE)
    thorough = THOROUGHNESS.index(profile.effort) if profile.effort in THOROUGHNESS else -1
    return preferred, -thorough, -profile.finished_at
