"""The targets `onnxruntime` and `onnxruntime:cuda`: ONNX Runtime, every graph optimisation on."""

import re
from functools import cache
from importlib import import_module
from pathlib import Path
from time import perf_counter_ns
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from devices.target import Artifact, OnnxArtifact, Session, Target, register_target, wrong_artifact
from devices.workload import Precision, Workload
from runs.errors import UserError

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
Providers = list[str | tuple[str, dict[str, str]]]

ON_PROCESSOR: Providers = [CPU]
ON_GPU: Providers = [(CUDA, {"device_id": "0", "use_tf32": "0"}), CPU]
"""What no kernel for the GPU computes goes to the processor. TF32 is another arithmetic than other targets' fp32."""

ERRORS_ONLY = 3

SPINNING = "stops after a run"
"""What threads do that wait for work, as the fingerprint has it."""

LOAD_ERRORS = (
    "Fail",
    "InvalidArgument",
    "InvalidGraph",
    "InvalidProtobuf",
    "NoSuchFile",
    "NotImplemented",
    "RuntimeException",
)
"""What ONNX Runtime raises for a file it cannot run; they have no base class of their own."""

NEWEST_OPSET = re.compile(r"is till opset (\d+)")
"""Stands in its message about a file of an opset that it does not know yet."""


def load_library() -> Any:
    """The module `onnxruntime`; only a process that opens one of these targets carries it."""
    try:
        return import_module("onnxruntime")
    except ImportError:
        raise UserError("ONNX Runtime is not installed: pip install onnxruntime.") from None


@cache
def load_errors() -> tuple[type[Exception], ...]:
    """The classes of `LOAD_ERRORS`, and Python's own that mean the same."""
    load_library()
    failures = import_module("onnxruntime.capi.onnxruntime_pybind11_state")
    return (*(getattr(failures, name) for name in LOAD_ERRORS), ValueError, RuntimeError)


class OnnxRuntimeSession(Session):
    """An `InferenceSession` with one operator running at a time, on the workload's threads."""

    def __init__(self, artifact: OnnxArtifact, workload: Workload, providers: Providers = ON_PROCESSOR) -> None:
        library = load_library()
        options = library.SessionOptions()
        options.intra_op_num_threads = workload.threads
        options.inter_op_num_threads = 1
        options.execution_mode = library.ExecutionMode.ORT_SEQUENTIAL
        options.graph_optimization_level = library.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = ERRORS_ONLY
        # Every session has threads of its own, which by default go on spinning for tens of ms after a run, on the cores
        # that the next session needs.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        model = str(artifact.model) if isinstance(artifact.model, Path) else artifact.model
        try:
            # Otherwise it would print what went wrong and try again on the processor.
            self._session: Any = library.InferenceSession(model, options, providers=providers, enable_fallback=0)
        except load_errors() as problem:
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


class CudaOnnxRuntimeSession(OnnxRuntimeSession):
    """A session on the first CUDA device whose inputs lie there and whose outputs stay there: no copy is timed."""

    def __init__(self, artifact: OnnxArtifact, workload: Workload) -> None:
        super().__init__(artifact, workload, ON_GPU)
        if CUDA not in self._session.get_providers():
            raise UserError(
                "ONNX Runtime has a CUDA provider and could not start it: install the versions of CUDA and cuDNN that "
                "it was built for, or use --target onnxruntime."
            )
        make = load_library().OrtValue.ortvalue_from_numpy
        self._binding: Any = self._session.io_binding()
        for name, value in artifact.inputs.items():
            self._binding.bind_ortvalue_input(name, make(np.ascontiguousarray(value), "cuda", 0))
        for node in self._session.get_outputs():
            self._binding.bind_output(node.name, "cuda", 0)

    def run(self) -> list[npt.NDArray[np.float32]]:
        self._session.run_with_iobinding(self._binding)
        outputs: list[npt.NDArray[np.float32]] = self._binding.copy_outputs_to_cpu()
        return outputs

    def time_ms(self) -> float:
        session, binding = self._session, self._binding
        start = perf_counter_ns()
        session.run_with_iobinding(binding)
        binding.synchronize_outputs()
        return (perf_counter_ns() - start) / 1e6


def _plain_reason(problem: Exception) -> str:
    """What was wrong, without where in ONNX Runtime's own sources it was found."""
    newest = NEWEST_OPSET.search(str(problem))
    if newest:
        return f"it needs a later opset than {newest[1]}, the newest this version knows: export it for that one."
    return (str(problem).splitlines() or [type(problem).__name__])[0]


@register_target
class OnnxRuntimeTarget(Target):
    """ONNX Runtime's processor provider; int8 graphs carry their quantization themselves."""

    name = "onnxruntime"
    artifact = "onnx-fused"
    precisions: ClassVar[tuple[Precision, ...]] = ("fp32", "int8")
    session: type[OnnxRuntimeSession] = OnnxRuntimeSession

    def __init__(self) -> None:
        self._library = load_library()

    def runtime(self) -> dict[str, str]:
        return {"onnxruntime": self._library.__version__, "provider": CPU, "spinning": SPINNING}

    def open(self, artifact: Artifact, workload: Workload) -> Session:
        self.check(workload)
        if not isinstance(artifact, OnnxArtifact):
            raise wrong_artifact(self, artifact)
        return self.session(artifact, workload)


@register_target
class CudaOnnxRuntimeTarget(OnnxRuntimeTarget):
    """ONNX Runtime's CUDA provider, fp32 at full precision; it has no dynamic int8."""

    name = "onnxruntime:cuda"
    precisions = ("fp32",)
    session = CudaOnnxRuntimeSession

    def __init__(self) -> None:
        super().__init__()
        if CUDA not in self._library.get_available_providers():
            raise UserError(
                f"target {self.name!r} needs an ONNX Runtime with its CUDA provider, and the one installed here has "
                "none: install onnxruntime-gpu in its place, or use --target onnxruntime."
            )
        # PyTorch, whose libraries of CUDA the provider uses, also tells which GPU this is.
        from devices.cuda import first_device

        self._device = first_device(self.name)

    def runtime(self) -> dict[str, str]:
        import torch

        name = torch.cuda.get_device_name(self._device)
        return {"onnxruntime": self._library.__version__, "provider": CUDA, "device": name, "spinning": SPINNING}
