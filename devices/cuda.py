"""The targets `cuda` and `cuda:graphs`: PyTorch on the first CUDA device, timed with CUDA events."""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from devices.pytorch import arrays_of
from devices.target import Artifact, Session, Target, TorchArtifact, register_target, wrong_artifact
from devices.workload import Precision, Workload
from runs.errors import UserError

RUNS_BEFORE_CAPTURE = 3
"""Libraries make their handles and choose their kernels in the first runs, which a capture does not allow."""


def first_device(target: str) -> torch.device:
    """The CUDA device that `target` runs on; `UserError` where PyTorch finds none."""
    if not torch.cuda.is_available():
        raise UserError(
            f"target {target!r} needs an NVIDIA GPU and a PyTorch with CUDA, and PyTorch finds none here: "
            "use --target cpu or --target onnxruntime, or install PyTorch for CUDA."
        )
    return torch.device("cuda", 0)


def _first_line(problem: Exception) -> str:
    return (str(problem).splitlines() or [type(problem).__name__])[0]


@cache
def _side_stream(device: torch.device) -> Any:
    """The stream of all captures: libraries keep working memory for every stream that they ever saw."""
    return torch.cuda.Stream(device)


@contextmanager
def _waiting_refused() -> Iterator[None]:
    """Within it PyTorch raises `RuntimeError` for what makes the host wait for the device."""
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)


class CudaSession(Session):
    """A copy of a module and its inputs on the device; the time is that of the device, copies to and fro left out."""

    def __init__(self, artifact: TorchArtifact, device: torch.device) -> None:
        # A copy, since `to` moves a module itself, and another session may be running it.
        self._module = deepcopy(artifact.module).eval().to(device)
        self._inputs = tuple(tensor.to(device) for tensor in artifact.inputs)
        self._start = torch.cuda.Event(enable_timing=True)
        self._end = torch.cuda.Event(enable_timing=True)

    def _answer(self) -> Any:
        """One inference, queued on the device."""
        return self._module(*self._inputs)

    def run(self) -> list[npt.NDArray[np.float32]]:
        with torch.inference_mode():
            return arrays_of(self._answer())

    def time_ms(self) -> float:
        with torch.inference_mode():
            # An idle device: what an earlier run left in the queue must not be counted.
            torch.cuda.synchronize()
            self._start.record()
            self._answer()
            self._end.record()
            self._end.synchronize()
        return float(self._start.elapsed_time(self._end))


class GraphedCudaSession(CudaSession):
    """The kernels of one inference, captured as a CUDA graph and launched together, so that the host hardly counts."""

    def __init__(self, artifact: TorchArtifact, device: torch.device) -> None:
        super().__init__(artifact, device)
        self._graph = torch.cuda.CUDAGraph()
        try:
            with torch.inference_mode():
                self._capture(device)
        except torch.cuda.OutOfMemoryError:
            raise
        except RuntimeError as problem:
            raise UserError(
                f"{artifact.key} cannot be captured as a CUDA graph ({_first_line(problem)}): use --target cuda."
            ) from problem

    def _capture(self, device: torch.device) -> None:
        aside, usual = _side_stream(device), torch.cuda.current_stream(device)
        aside.wait_stream(usual)
        with torch.cuda.stream(aside):
            for _ in range(RUNS_BEFORE_CAPTURE):
                self._module(*self._inputs)
            # A module that waits for the device cannot be captured, and a capture that fails may spoil later ones.
            with _waiting_refused():
                self._module(*self._inputs)
        usual.wait_stream(aside)
        with torch.cuda.graph(self._graph, stream=aside):
            self._captured = self._module(*self._inputs)

    def _answer(self) -> Any:
        self._graph.replay()
        return self._captured


@register_target
class CudaTarget(Target):
    """PyTorch on a CUDA device, eager, fp32 at full precision; threads are those of the host and do not matter."""

    name = "cuda"
    artifact = "torch"
    precisions = ("fp32", "bf16", "fp16")
    session: type[CudaSession] = CudaSession

    def __init__(self) -> None:
        self._device = first_device(self.name)
        # By default products are in fp32 but convolutions in TF32, which is another arithmetic than other targets'.
        torch.set_float32_matmul_precision("highest")
        torch.backends.cudnn.allow_tf32 = False

    def lacks(self, precision: Precision) -> str | None:
        if precision == "bf16" and not torch.cuda.is_bf16_supported(including_emulation=False):
            return "the GPU has no bf16 arithmetic"
        return None

    def runtime(self) -> dict[str, str]:
        properties: Any = torch.cuda.get_device_properties(self._device)
        return {
            "torch": torch.__version__,
            "cuda": str(torch.version.cuda),
            "cudnn": str(torch.backends.cudnn.version()),
            "device": properties.name,
            "capability": f"{properties.major}.{properties.minor}",
            "matmul": torch.get_float32_matmul_precision(),
        }

    def open(self, artifact: Artifact, workload: Workload) -> Session:
        self.check(workload)
        if not isinstance(artifact, TorchArtifact):
            raise wrong_artifact(self, artifact)
        try:
            return self.session(artifact, self._device)
        except torch.cuda.OutOfMemoryError:
            raise UserError(
                f"{artifact.key} does not fit the free memory of the GPU: close other programs, or lower --batch-size "
                "or --sequence-length."
            ) from None


@register_target
class GraphedCudaTarget(CudaTarget):
    """PyTorch on a CUDA device, captured once as a CUDA graph and replayed."""

    name = "cuda:graphs"
    session = GraphedCudaSession
