"""Tailor a transformer student to a device: the public Python API.

Names are loaded on first use, since torch and transformers take seconds and `--help` should not.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from devices.workload import Workload as Workload
    from nas.search import SearchSettings as SearchSettings
    from nas.search import search as search
    from predictor.latency import LatencyPredictor as LatencyPredictor
    from predictor.regressor import LatencyRegressor as LatencyRegressor
    from runs.errors import UserError as UserError
    from students.spec import StudentSpec as StudentSpec
    from tailorbird.commands import distill_student as distill_student
    from tailorbird.commands import export_student as export_student
    from tailorbird.commands import measure_student as measure_student
    from tailorbird.commands import nas_search as nas_search
    from tailorbird.commands import predict_latency as predict_latency
    from tailorbird.commands import profile_device as profile_device

_HOMES = {
    "LatencyPredictor": "predictor.latency",
    "LatencyRegressor": "predictor.regressor",
    "SearchSettings": "nas.search",
    "StudentSpec": "students.spec",
    "UserError": "runs.errors",
    "Workload": "devices.workload",
    "distill_student": "tailorbird.commands",
    "export_student": "tailorbird.commands",
    "measure_student": "tailorbird.commands",
    "nas_search": "tailorbird.commands",
    "predict_latency": "tailorbird.commands",
    "profile_device": "tailorbird.commands",
    "search": "nas.search",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'tailorbird' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
