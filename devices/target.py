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
"""`onnx` has portable operators alone, its int8 rounds by known ranges; `onnx-fused` is what ONNX Runtime runs
fastest."""


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

    def close(self) -> None:
        """Give back what the session holds; it cannot run any more."""
        vars(self).clear()


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

    def lacks(self, precision: Precision) -> str | None:
        """Why this machine cannot compute in one of `precisions`, as half a sentence; None where it can."""
        return None

    def precisions_here(self) -> tuple[Precision, ...]:
        """Those of `precisions` that this machine has."""
        return tuple(precision for precision in self.precisions if self.lacks(precision) is None)

    def check(self, workload: Workload) -> None:
        """Raise `UserError` for a workload that this target cannot run as asked."""
        precision = workload.precision
        known = precision in self.precisions
        reason = self.lacks(precision) if known else None
        if not known or reason is not None:
            found = f"cannot run {precision} here ({reason})" if reason else f"has no precision {precision!r}"
            others = " or ".join(self.precisions_here())
            raise UserError(f"target {self.name!r} {found}: use --precision {others}, or another target.")
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


TARGETS: Registry[Callable[[str], Target]] = Registry("target")
"""Name of a target or of its variant (`cpu:compile`), or scheme before a colon (`replay`) → a function of what stands
after that and a colon."""


def register_target(target: type[Target]) -> type[Target]:
    """Decorator that files a target under its name, made without arguments; its variants are targets of their own."""

    def made(rest: str) -> Target:
        if rest:
            known = [name for name in TARGETS if name.partition(":")[0] == target.name]
            raise UserError(f"target {target.name!r} has no variant {rest!r}: use --target {' or '.join(known)}.")
        return target()

    TARGETS.register(target.name)(made)
    return target


def open_target(text: str) -> Target:
    """The target that `text` names: `cpu`, `cpu:compile`, `replay:DIR`; a `UserError` names the known ones."""
    scheme, _, rest = text.partition(":")
    return TARGETS[text]("") if text in TARGETS else TARGETS[scheme](rest)
