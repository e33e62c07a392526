"""The target `cpu`: PyTorch, eager, on this machine's processor."""

from collections.abc import Mapping
from time import perf_counter_ns
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from devices.target import TARGETS, Artifact, Session, Target, TorchArtifact, without_rest, wrong_artifact
from devices.workload import Workload


def tensors_of(output: Any) -> list[torch.Tensor]:
    """The tensors of a module's answer in order, whether it is one tensor, a tuple or a `ModelOutput`."""
    if isinstance(output, torch.Tensor):
        return [output]
    parts = output.values() if isinstance(output, Mapping) else output
    return [tensor for part in parts if part is not None for tensor in tensors_of(part)]


class CpuSession(Session):
    """A module called eagerly in inference mode."""

    def __init__(self, artifact: TorchArtifact, workload: Workload) -> None:
        self._module = artifact.module.eval()
        self._inputs = artifact.inputs
        self._threads = workload.threads

    def _prepare(self) -> None:
        # The number of threads belongs to the process, and sessions of several workloads may be open at once.
        if torch.get_num_threads() != self._threads:
            torch.set_num_threads(self._threads)

    def run(self) -> list[npt.NDArray[np.float32]]:
        self._prepare()
        with torch.inference_mode():
            return [tensor.numpy() for tensor in tensors_of(self._module(*self._inputs))]

    def time_ms(self) -> float:
        self._prepare()
        with torch.inference_mode():
            start = perf_counter_ns()
            self._module(*self._inputs)
            return (perf_counter_ns() - start) / 1e6


class CpuTarget(Target):
    """PyTorch on the processor, fp32."""

    name = "cpu"
    artifact = "torch"
    precisions = ("fp32",)

    def runtime(self) -> dict[str, str]:
        return {"torch": torch.__version__, "instructions": torch.backends.cpu.get_cpu_capability()}

    def open(self, artifact: Artifact, workload: Workload) -> Session:
        self.check(workload)
        if not isinstance(artifact, TorchArtifact):
            raise wrong_artifact(self, artifact)
        return CpuSession(artifact, workload)


@TARGETS.register(CpuTarget.name)
def cpu(rest: str) -> Target:
    """This machine's processor through PyTorch."""
    without_rest(rest, CpuTarget.name)
    return CpuTarget()
