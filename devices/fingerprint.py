"""What has to be equal for two latencies to be comparable, written beside every measurement."""

from dataclasses import asdict, dataclass, fields
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from devices.target import Target
from runs.errors import UserError

SCHEMA = 2
"""Of a device profile's files; a change of their meaning raises it."""

COMPARED = ("processor", "architecture", "target", "runtime", "lowering", "schema")
"""The fields that make latencies incomparable; the others are recorded for the reader."""

RECORDED_PACKAGES = ("tailorbird", "torch", "transformers", "onnx", "onnxruntime", "numpy", "xgboost", "scikit-learn")


@dataclass(frozen=True)
class Fingerprint:
    """Machine, runtime, package versions, and the versions of our own lowering and profile schema."""

    processor: str
    architecture: str
    cores: int
    memory_gib: float
    system: str
    python: str
    target: str
    runtime: dict[str, str]
    packages: dict[str, str]
    lowering: int
    schema: int = SCHEMA

    def to_json(self) -> dict[str, Any]:
        """Plain numbers and names; `from_json` is the inverse."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Any) -> "Fingerprint":
        """Read `to_json`'s form; what else stands there is a `UserError`."""
        names = {field.name for field in fields(cls)}
        if not isinstance(value, dict) or set(value) != names:
            raise UserError("this is not a device fingerprint of this version: profile the device again.")
        return cls(**value)

    def comparable(self) -> dict[str, Any]:
        """The part that two comparable latencies share."""
        return {name: getattr(self, name) for name in COMPARED}

    def differences(self, other: "Fingerprint") -> list[str]:
        """One phrase for each thing that makes latencies of the two incomparable: `runtime (torch 2.12, now 2.13)`."""
        mine, theirs = self.comparable(), other.comparable()
        return [
            f"{name} ({_shown(mine[name])}, now {_shown(theirs[name])})"
            for name in COMPARED
            if mine[name] != theirs[name]
        ]


def _shown(value: Any) -> str:
    return ", ".join(f"{key} {text}" for key, text in value.items()) if isinstance(value, dict) else str(value)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def fingerprint(target: Target, lowering: int) -> Fingerprint:
    """The fingerprint of what `target` reaches, for artifacts of the given lowering version."""
    versions = {package: _version(package) for package in RECORDED_PACKAGES}
    return Fingerprint(
        **asdict(target.machine()),
        target=target.stands_for,
        runtime=target.runtime(),
        packages={package: text for package, text in versions.items() if text},
        lowering=lowering,
    )
