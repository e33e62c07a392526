"""The contract of a place where models run, what can be handed to it, and the registry of such places."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from devices.machine import Machine, this_machine
from devices.workload import Precision, Workload
from runs.errors import UserError
from runs.registry import Registry

if TYPE_CHECKING:
    # A process that runs another runtime must not carry PyTorch's memory, which would be counted as that runtime's.
    import torch

ArtifactKind = Literal["torch", "onnx", "onnx-fused", "description"]
"""`onnx` has portable operators alone; `onnx-fused` is the form that ONNX Runtime runs fastest."""


@dataclass(frozen=True)
class TorchArtifact:
    """A module in eval mode and the positional tensors it is called with."""

    key: str
    module: "torch.nn.Module"
    inputs: "tuple[torch.Tensor, ...]"


@dataclass(frozen=True)
class OnnxArtifact:
    """An ONNX model, as bytes or as a file, and the arrays it is fed with by input name."""

    key: str
    model: bytes | Path
    inputs: dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class DescriptionArtifact:
    """No model at all, only its JSON description: what a target that replays needs."""

    key: str
    description: dict[str, Any]


Artifact = TorchArtifact | OnnxArtifact | DescriptionArtifact


class Session(ABC):
    """A model made ready on a target, to be run again and again."""

    @abstractmethod
    def run(self) -> list[npt.NDArray[np.float32]]:
        """One inference over the artifact's inputs; its outputs in order, on the host."""

    def time_ms(self) -> float:
        """Run once and return its duration in milliseconds, by the wall clock unless the target has a better one."""
        start = perf_counter_ns()
        self.run()
        return (perf_counter_ns() - start) / 1e6

    def close(self) -> None:  # noqa: B027  (most sessions hold nothing but memory)
        """Give back what the session holds."""


class Target(ABC):
    """A place where a model runs. Making one raises `UserError` where this machine does not have it."""

    name: ClassVar[str]
    artifact: ClassVar[ArtifactKind]
    precisions: ClassVar[tuple[Precision, ...]]
    clocked: ClassVar[bool] = True
    """False where latencies are looked up rather than timed, so that no processes and no rounds are needed."""

    @property
    def stands_for(self) -> str:
        """Name of the target whose latencies these are."""
        return self.name

    def machine(self) -> Machine:
        """The machine that runs the models; this one unless the target is elsewhere."""
        return this_machine()

    def check(self, workload: Workload) -> None:
        """Raise `UserError` for a workload that this target cannot run as asked."""
        if workload.precision not in self.precisions:
            raise UserError(
                f"target {self.name!r} has no precision {workload.precision!r}: "
                f"use --precision {' or '.join(self.precisions)}, or another target."
            )
        # Asking for the machine takes a second, and one thread is always there.
        if workload.threads > 1 and workload.threads > self.machine().cores:
            cores = self.machine().cores
            raise UserError(f"--threads is {workload.threads}: the machine of target {self.name!r} has {cores} cores.")

    @abstractmethod
    def runtime(self) -> dict[str, str]:
        """What besides the machine decides a latency here: runtime name and version, device name, providers."""

    @abstractmethod
    def open(self, artifact: Artifact, workload: Workload) -> Session:
        """Load the artifact; raises `UserError` for a precision or an artifact kind this target lacks."""


def wrong_artifact(target: Target, artifact: Artifact) -> UserError:
    """The error for an artifact of a kind that the target cannot run."""
    return UserError(f"target {target.name!r} runs {target.artifact} artifacts, and {artifact.key} is another kind.")


def without_rest(rest: str, name: str) -> None:
    """Raise `UserError` where something follows the name of a target that takes nothing after a colon."""
    if rest:
        raise UserError(
            f"target {name!r} takes nothing after its name, and {rest!r} stands there: write --target {name}."
        )


TARGETS: Registry[Callable[[str], Target]] = Registry("target")
"""Name, or scheme before a colon → a function of what stands after the colon (empty for a bare name)."""


def open_target(text: str) -> Target:
    """The target that `text` names: `cpu`, `onnxruntime`, `replay:DIR`; a `UserError` names the known ones."""
    scheme, _, rest = text.partition(":")
    return TARGETS[scheme](rest)
