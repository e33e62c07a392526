"""The targets `cpu` and `cpu:compile`: PyTorch on this machine's processor, eager or compiled."""

import subprocess
from collections.abc import Callable, Mapping
from functools import partial
from importlib.util import find_spec
from time import perf_counter_ns
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch

from devices.target import Artifact, Session, Target, TorchArtifact, register_target, wrong_artifact
from devices.workload import Precision, Workload
from runs.errors import UserError

BF16_INSTRUCTIONS = ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16")
"""What PyTorch calls them, on x86 and on ARM; without any of them bf16 is emulated and slower than fp32."""

COMPILING = {"compile_threads": 1}
"""Compiler processes of its own would go on using the processor beside what is timed."""

NO_LIMIT = 2**31


def tensors_of(output: Any) -> list[torch.Tensor]:
    """The tensors of a module's answer in order, whether it is one tensor, a tuple or a `ModelOutput`."""
    if isinstance(output, torch.Tensor):
        return [output]
    parts = output.values() if isinstance(output, Mapping) else output
    return [tensor for part in parts if part is not None for tensor in tensors_of(part)]


def arrays_of(output: Any) -> list[npt.NDArray[np.float32]]:
    """The same as float32 arrays on the host, whatever the precision and the device."""
    return [tensor.float().cpu().numpy() for tensor in tensors_of(output)]


class CpuSession(Session):
    """A module called eagerly in inference mode."""

    def __init__(self, artifact: TorchArtifact, workload: Workload) -> None:
        self._call: Callable[..., Any] = artifact.module.eval()
        self._inputs = artifact.inputs
        self._threads = workload.threads

    def _prepare(self) -> None:
        # The number of threads belongs to the process, and sessions of several workloads may be open at once.
        if torch.get_num_threads() != self._threads:
            torch.set_num_threads(self._threads)

    def run(self) -> list[npt.NDArray[np.float32]]:
        self._prepare()
        with torch.inference_mode():
            return arrays_of(self._call(*self._inputs))

    def time_ms(self) -> float:
        self._prepare()
        with torch.inference_mode():
            start = perf_counter_ns()
            self._call(*self._inputs)
            return (perf_counter_ns() - start) / 1e6


class CompiledCpuSession(CpuSession):
    """A module compiled by `torch.compile` for exactly the shapes of its inputs, when the session is opened."""

    def __init__(self, artifact: TorchArtifact, workload: Workload) -> None:
        super().__init__(artifact, workload)
        # Models of one class share their code, to which by default a few compilations are allowed in all; beyond them
        # PyTorch would go on eagerly, without a word.
        compile_alone: Any = partial(torch.compile, dynamic=False, isolate_recompiles=True, options=COMPILING)
        self._call = compile_alone(artifact.module.eval())
        with torch._dynamo.config.patch(accumulated_recompile_limit=NO_LIMIT, fail_on_recompile_limit_hit=True):
            self.run()


def _has_bf16() -> bool:
    found = torch.cpu.get_capabilities()
    return any(found.get(name, False) for name in BF16_INSTRUCTIONS)


def _has_int8() -> bool:
    engines = [name for name in torch.backends.quantized.supported_engines if name != "none"]
    return bool(engines) and find_spec("torch.ao.quantization") is not None


NEEDS: dict[Precision, tuple[Callable[[], bool], str]] = {
    "bf16": (_has_bf16, "the processor has no bf16 instructions"),
    "int8": (_has_int8, "this PyTorch has no dynamic quantization"),
}
"""Precision → whether this machine has it, and what to say where it has not."""


@register_target
class CpuTarget(Target):
    """PyTorch on the processor, eager."""

    name = "cpu"
    artifact = "torch"
    precisions: ClassVar[tuple[Precision, ...]] = ("fp32", "bf16", "int8")
    session: type[CpuSession] = CpuSession

    def lacks(self, precision: Precision) -> str | None:
        has, reason = NEEDS.get(precision, (None, None))
        return reason if has is not None and not has() else None

    def runtime(self) -> dict[str, str]:
        return {"torch": torch.__version__, "instructions": torch.backends.cpu.get_cpu_capability()}

    def open(self, artifact: Artifact, workload: Workload) -> Session:
        self.check(workload)
        if not isinstance(artifact, TorchArtifact):
            raise wrong_artifact(self, artifact)
        return self.session(artifact, workload)


@register_target
class CompiledCpuTarget(CpuTarget):
    """PyTorch on the processor, compiled by `torch.compile`, which takes a C++ compiler and seconds to open."""

    name = "cpu:compile"
    precisions = ("fp32", "bf16")
    session = CompiledCpuSession

    def __init__(self) -> None:
        # Takes seconds to import, and only this variant needs it.
        from torch._inductor.cpp_builder import get_cpp_compiler
        from torch._inductor.exc import InvalidCxxCompiler

        try:
            command = [get_cpp_compiler(), "--version"]
        except InvalidCxxCompiler:
            raise UserError(
                f"target {self.name!r} needs a C++ compiler, and there is none here: install g++ or clang++, name "
                "another one in the environment as CXX, or use --target cpu."
            ) from None
        self._compiler = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[0]

    def runtime(self) -> dict[str, str]:
        return {**super().runtime(), "compiler": self._compiler}
