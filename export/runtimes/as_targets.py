"""The runtimes `onnxruntime` and `openvino`: the same sessions that the targets of these names time."""

from importlib import import_module
from typing import ClassVar

from devices.target import OnnxArtifact, Session
from devices.workload import Workload
from export.runtimes.contract import RUNTIMES, Opened, Runtime


class TargetRuntime(Runtime):
    """A runtime that opens ONNX files as they are, as its target does."""

    session: ClassVar[tuple[str, str]]
    """Module and class; loaded only to open something, since modules of targets load their runtimes."""

    def open(self, opened: Opened) -> Session:
        batch_size, sequence_length = next(iter(opened.inputs.values())).shape
        workload = Workload(batch_size, sequence_length, opened.threads)
        module, name = self.session
        session: Session = getattr(import_module(module), name)(
            OnnxArtifact(str(opened.file), opened.file, opened.inputs), workload
        )
        return session


class OnnxRuntime(TargetRuntime):
    """ONNX Runtime's processor provider, every graph optimisation on."""

    name = "onnxruntime"
    extra = ""
    modules = ("onnxruntime",)
    distribution = "onnxruntime"
    session = ("devices.onnx_runtime", "OnnxRuntimeSession")


class OpenVino(TargetRuntime):
    """OpenVINO's processor plugin, compiled for the very shapes it is fed with."""

    name = "openvino"
    extra = "openvino"
    modules = ("openvino",)
    distribution = "openvino"
    session = ("devices.open_vino", "OpenVinoSession")
    note = "compiled for one shape, INFERENCE_PRECISION_HINT f32"


for _runtime in (OnnxRuntime(), OpenVino()):
    RUNTIMES.register(_runtime.name)(_runtime)
