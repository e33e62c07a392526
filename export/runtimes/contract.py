"""The contract of a runtime that exported files are proven on, and the registry of them.

Processes that hold one runtime and little else import this module: nothing here may load PyTorch or ONNX.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from devices.target import Session
from runs.errors import UserError
from runs.registry import Registry

Inputs = dict[str, npt.NDArray[Any]]
"""Arrays by input name, in the graph's order."""


@dataclass(frozen=True)
class Opened:
    """What a runtime is to load: the file, arrays of the very shapes it will be fed with, names of the outputs."""

    file: Path
    inputs: Inputs
    outputs: tuple[str, ...]
    threads: int


class Runtime(ABC):
    """A library that runs models; it is only ever imported in a process of its own."""

    name: ClassVar[str]
    extra: ClassVar[str]
    """The optional dependency of ours that installs it; empty for one that is always there."""
    modules: ClassVar[tuple[str, ...]]
    """Top-level modules that it consists of."""
    distribution: ClassVar[str]
    """The installed package whose version is the runtime's."""
    source: ClassVar[str] = "file"
    """A name in `export.runtimes.sources.SOURCES`: what it starts from."""
    suffixes: ClassVar[tuple[str, ...]] = ()
    """Of the files that `convert` writes, the one to open first; empty where the source is opened as it is."""
    note: ClassVar[str] = ""
    """What a reader of its figures should know."""

    def check(self) -> str:
        """The installed version; `UserError` naming the extra where it is not installed."""
        try:
            missing = [module for module in self.modules if find_spec(module) is None]
            found = version(self.distribution)
        except PackageNotFoundError:
            missing = [self.distribution]
        if missing:
            raise UserError(
                f"the runtime {self.name!r} is not installed ({missing[0]} is missing): "
                f"pip install 'tailorbird[{self.extra}]'."
            )
        return found

    def convert(self, source: Path, inputs: Inputs, stem: Path) -> None:
        """Write `stem` + each of `suffixes`; `UserError` where the runtime lacks an operator or an opset."""
        raise NotImplementedError(f"{self.name} opens {source} as it is")

    @abstractmethod
    def open(self, opened: Opened) -> Session:
        """Load the model; every run of the session reads the arrays in `opened.inputs` anew.

        Raises `UserError` for a file that the runtime cannot load.
        """


RUNTIMES: Registry[Runtime] = Registry("runtime")


def as_numbers(values: Any) -> npt.NDArray[np.float32]:
    """A runtime's answer as an array of its own, which the next run does not overwrite."""
    return np.array(values, dtype=np.float32, copy=True)
