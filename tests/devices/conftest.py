"""Every target there is, for the tests of the contract; one that this machine lacks is skipped with the reason."""

import pytest

import devices.targets  # noqa: F401  (fills the registry)
from devices.fingerprint import SCHEMA, Fingerprint
from devices.replay import ReplayTarget
from devices.target import TARGETS, Target, open_target
from runs.errors import UserError

RECORDED_BY = Fingerprint("P", "x86_64", 2, 8.0, "Linux", "3.11", "cpu", {"torch": "1"}, {}, 1, SCHEMA)

EVERYWHERE = {"cpu", "onnxruntime"}
"""Targets that no machine may lack."""


@pytest.fixture(params=sorted({*TARGETS.names(), ReplayTarget.name}))
def target(request: pytest.FixtureRequest) -> Target:
    if request.param == ReplayTarget.name:
        return ReplayTarget({}, lambda seen, workload: ("product", 2.0), RECORDED_BY)
    try:
        return open_target(request.param)
    except UserError as problem:
        if request.param in EVERYWHERE:
            raise
        pytest.skip(str(problem))
