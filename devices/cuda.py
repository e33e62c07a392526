"""The target `cuda`: PyTorch, eager, on the first CUDA device, timed with CUDA events."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from devices.pytorch import tensors_of
from devices.target import TARGETS, Artifact, Session, Target, TorchArtifact, without_rest, wrong_artifact
from devices.workload import Workload
from runs.errors import UserError


class CudaSession(Session):
    """A module and its inputs on the device; the time is that of the device, copies to and fro left out."""

    def __init__(self, artifact: TorchArtifact, device: torch.device) -> None:
        self._module = artifact.module.eval().to(device)
        self._inputs = tuple(tensor.to(device) for tensor in artifact.inputs)
        self._start = torch.cuda.Event(enable_timing=True)
        self._end = torch.cuda.Event(enable_timing=True)

    def run(self) -> list[npt.NDArray[np.float32]]:
        with torch.inference_mode():
            return [tensor.cpu().numpy() for tensor in tensors_of(self._module(*self._inputs))]

    def time_ms(self) -> float:
        with torch.inference_mode():
            # An idle device: what an earlier run left in the queue must not be counted.
            torch.cuda.synchronize()
            self._start.record()
            self._module(*self._inputs)
            self._end.record()
            self._end.synchronize()
        return float(self._start.elapsed_time(self._end))

    def close(self) -> None:
        # A module moves in place; without this its weights would stay on the device as long as the artifact lives.
        self._module.to("cpu")


class CudaTarget(Target):
    """PyTorch on a CUDA device, fp32 products at full precision; threads are those of the host and do not matter."""

    name = "cuda"
    artifact = "torch"
    precisions = ("fp32",)

    def __init__(self) -> None:
        if not torch.cuda.is_available():
            raise UserError(
                "target 'cuda' needs an NVIDIA GPU and a PyTorch with CUDA, and PyTorch finds none here: "
                "use --target cpu or --target onnxruntime, or install PyTorch for CUDA."
            )
        self._device = torch.device("cuda", 0)

    def runtime(self) -> dict[str, str]:
        properties: Any = torch.cuda.get_device_properties(self._device)
        return {
            "torch": torch.__version__,
            "cuda": str(torch.version.cuda),
            "device": properties.name,
            "capability": f"{properties.major}.{properties.minor}",
            "matmul": torch.get_float32_matmul_precision(),
        }

    def open(self, artifact: Artifact, workload: Workload) -> Session:
        self.check(workload)
        if not isinstance(artifact, TorchArtifact):
            raise wrong_artifact(self, artifact)
        return CudaSession(artifact, self._device)


@TARGETS.register(CudaTarget.name)
def cuda(rest: str) -> Target:
    """The first CUDA device through PyTorch."""
    without_rest(rest, CudaTarget.name)
    return CudaTarget()
