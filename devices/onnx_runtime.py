"""The target `onnxruntime`: ONNX Runtime on this machine's processor, every graph optimisation on."""

import re
from pathlib import Path
from time import perf_counter_ns
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as failures

from devices.target import TARGETS, Artifact, OnnxArtifact, Session, Target, without_rest, wrong_artifact
from devices.workload import Workload
from runs.errors import UserError

PROVIDERS = ["CPUExecutionProvider"]
ERRORS_ONLY = 3

LOAD_ERRORS: tuple[type[Exception], ...] = (
    failures.Fail,
    failures.InvalidArgument,
    failures.InvalidGraph,
    failures.InvalidProtobuf,
    failures.NoSuchFile,
    failures.NotImplemented,
    failures.RuntimeException,
    ValueError,
)
"""What ONNX Runtime raises for a file it cannot run; they have no base class of their own."""

NEWEST_OPSET = re.compile(r"is till opset (\d+)")
"""Stands in its message about a file of an opset that it does not know yet."""


class OnnxRuntimeSession(Session):
    """An `InferenceSession` with one operator running at a time, on the workload's threads."""

    def __init__(self, artifact: OnnxArtifact, workload: Workload) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = workload.threads
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = ERRORS_ONLY
        model = str(artifact.model) if isinstance(artifact.model, Path) else artifact.model
        try:
            self._session: Any = onnxruntime.InferenceSession(model, options, providers=PROVIDERS)
        except LOAD_ERRORS as problem:
            raise UserError(f"ONNX Runtime cannot load {artifact.key}: {_plain_reason(problem)}") from problem
        wanted = {node.name for node in self._session.get_inputs()}
        if wanted != set(artifact.inputs):
            takes, fed = (", ".join(sorted(names)) for names in (wanted, set(artifact.inputs)))
            raise UserError(f"{artifact.key} takes the inputs {takes}, not {fed}: it is not a graph of this toolkit.")
        self._inputs = artifact.inputs

    def run(self) -> list[npt.NDArray[np.float32]]:
        outputs: list[npt.NDArray[np.float32]] = self._session.run(None, self._inputs)
        return outputs

    def time_ms(self) -> float:
        session, inputs = self._session, self._inputs
        start = perf_counter_ns()
        session.run(None, inputs)
        return (perf_counter_ns() - start) / 1e6


def _plain_reason(problem: Exception) -> str:
    """What was wrong, without where in ONNX Runtime's own sources it was found."""
    newest = NEWEST_OPSET.search(str(problem))
    if newest:
        return f"it needs a later opset than {newest[1]}, the newest this version knows: export it for that one."
    return (str(problem).splitlines() or [type(problem).__name__])[0]


class OnnxRuntimeTarget(Target):
    """ONNX Runtime's processor provider; int8 graphs carry their quantization themselves."""

    name = "onnxruntime"
    artifact = "onnx-fused"
    precisions = ("fp32", "int8")

    def runtime(self) -> dict[str, str]:
        return {"onnxruntime": onnxruntime.__version__, "provider": PROVIDERS[0]}

    def open(self, artifact: Artifact, workload: Workload) -> Session:
        self.check(workload)
        if not isinstance(artifact, OnnxArtifact):
            raise wrong_artifact(self, artifact)
        return OnnxRuntimeSession(artifact, workload)


@TARGETS.register(OnnxRuntimeTarget.name)
def onnx_runtime(rest: str) -> Target:
    """This machine's processor through ONNX Runtime."""
    without_rest(rest, OnnxRuntimeTarget.name)
    return OnnxRuntimeTarget()
