"""The target `openvino`: OpenVINO on this machine's processor, from portable graphs."""

from importlib import import_module
from pathlib import Path
from time import perf_counter_ns
from typing import Any

import numpy as np
import numpy.typing as npt

from devices.target import Artifact, OnnxArtifact, Session, Target, register_target, wrong_artifact
from devices.workload import Precision, Workload
from runs.errors import UserError

DEVICE = "CPU"

SETTINGS: dict[str, Any] = {
    "PERFORMANCE_HINT": "LATENCY",
    "NUM_STREAMS": 1,
    # On processors with bf16 OpenVINO would otherwise choose that by itself, and its fp32 be another arithmetic than
    # every other target's. A workload in bf16 has another hint.
    "INFERENCE_PRECISION_HINT": "f32",
    # Pinned threads stay on a core that another process may keep busy; no other target pins them.
    "ENABLE_CPU_PINNING": False,
}
"""What every model is compiled with, beside its number of threads."""


def settings(workload: Workload) -> dict[str, Any]:
    """`SETTINGS` for a workload: its threads, and bf16 where it asks for that; int8 is in the graph itself."""
    rounded = {"INFERENCE_PRECISION_HINT": "bf16"} if workload.precision == "bf16" else {}
    return {**SETTINGS, **rounded, "INFERENCE_NUM_THREADS": workload.threads}


NOISE = ("Exception from", "Check '", "FrontEnd API failed")
"""Lines with which OpenVINO's messages say where in its own sources they come from."""


def load_library() -> Any:
    """The module `openvino`; `UserError` naming the extra where it is not installed."""
    try:
        return import_module("openvino")
    except ImportError:
        raise UserError("OpenVINO is not installed: pip install 'tailorbird[openvino]'.") from None


def plain_reason(problem: Exception) -> str:
    """The line of an OpenVINO message that says what was wrong."""
    lines = [line.strip() for line in str(problem).splitlines()]
    telling = [line for line in lines if line and not line.startswith(NOISE)]
    return (telling or [type(problem).__name__])[0]


class OpenVinoSession(Session):
    """A model compiled for exactly the shapes of the artifact's inputs, on the workload's threads.

    Every run reads the artifact's arrays anew.
    """

    def __init__(self, artifact: OnnxArtifact, workload: Workload) -> None:
        library = load_library()
        core = library.Core()
        source = str(artifact.model) if isinstance(artifact.model, Path) else artifact.model
        try:
            model = core.read_model(source)
            wanted = {node.get_any_name() for node in model.inputs}
            if wanted != set(artifact.inputs):
                takes, fed = (", ".join(sorted(names)) for names in (wanted, set(artifact.inputs)))
                raise UserError(
                    f"{artifact.key} takes the inputs {takes}, not {fed}: it is not a graph of this toolkit."
                )
            # Known shapes let OpenVINO plan its memory once and choose kernels for them.
            model.reshape({name: list(value.shape) for name, value in artifact.inputs.items()})
            compiled = core.compile_model(model, DEVICE, settings(workload))
        except RuntimeError as problem:
            raise UserError(f"OpenVINO cannot load {artifact.key}: {plain_reason(problem)}") from problem
        self._request = compiled.create_infer_request()
        self._outputs = compiled.outputs
        self._inputs = artifact.inputs

    def run(self) -> list[npt.NDArray[np.float32]]:
        answers = self._request.infer(self._inputs, share_inputs=True)
        return [np.asarray(answers[output]) for output in self._outputs]

    def time_ms(self) -> float:
        request, inputs = self._request, self._inputs
        start = perf_counter_ns()
        request.infer(inputs, share_inputs=True, share_outputs=True)
        return (perf_counter_ns() - start) / 1e6


@register_target
class OpenVinoTarget(Target):
    """OpenVINO's processor plugin, fp32 in fp32; int8 graphs carry their quantization themselves."""

    name = "openvino"
    artifact = "onnx"
    precisions = ("fp32", "bf16", "int8")

    def __init__(self) -> None:
        library = load_library()
        self._version = str(library.__version__)
        self._abilities = set(library.Core().get_property(DEVICE, "OPTIMIZATION_CAPABILITIES"))

    def lacks(self, precision: Precision) -> str | None:
        if precision == "bf16" and "BF16" not in self._abilities:
            return "the processor has no bf16 instructions"
        return None

    def runtime(self) -> dict[str, str]:
        return {
            "openvino": self._version.split("-")[0],
            "device": DEVICE,
            "precision": SETTINGS["INFERENCE_PRECISION_HINT"],
            "hint": SETTINGS["PERFORMANCE_HINT"],
        }

    def open(self, artifact: Artifact, workload: Workload) -> Session:
        self.check(workload)
        if not isinstance(artifact, OnnxArtifact):
            raise wrong_artifact(self, artifact)
        return OpenVinoSession(artifact, workload)
