"""The runtime `mnn`: Alibaba's MNN, with the converter that comes in its own wheel."""

from importlib import import_module
from pathlib import Path
from time import perf_counter_ns
from typing import Any

import numpy as np
import numpy.typing as npt

from devices.target import Session
from export.runtimes.contract import RUNTIMES, Inputs, Opened, Runtime, as_numbers
from export.runtimes.overheard import overheard
from runs.errors import UserError

OPTIONS = ("--bizCode", "tailorbird", "--useGeluApproximation", "0")
"""MNN's default replaces GELU by a faster approximation, with which no student is within 1e-4 of its checkpoint."""

UNSUPPORTED = "Not Support: "
"""What stands before the operators in the converter's message."""


class MnnSession(Session):
    """A module of MNN on the processor in full precision."""

    def __init__(self, opened: Opened) -> None:
        library: Any = import_module("MNN")
        self._express: Any = library.expr
        settings = {"backend": "CPU", "numThread": opened.threads, "precision": "high"}
        self._manager: Any = library.nn.create_runtime_manager((settings,))
        names = [list(opened.inputs), list(opened.outputs)]
        try:
            self._module: Any = library.nn.load_module_from_file(
                str(opened.file), *names, runtime_manager=self._manager, shape_mutable=False
            )
        except (RuntimeError, ValueError, SystemError) as problem:
            raise UserError(f"MNN cannot load {opened.file}.") from problem
        self._inputs = opened.inputs

    def _variables(self) -> list[Any]:
        # MNN has no 64-bit integers; ids fit into 32.
        express = self._express
        return [
            express.const(np.ascontiguousarray(value, np.int32), list(value.shape), express.NCHW, express.int)
            for value in self._inputs.values()
        ]

    def run(self) -> list[npt.NDArray[np.float32]]:
        return [as_numbers(answer.read()) for answer in self._module.forward(self._variables())]

    def time_ms(self) -> float:
        variables = self._variables()
        start = perf_counter_ns()
        # MNN computes only when an answer is read.
        for answer in self._module.forward(variables):
            answer.read()
        return (perf_counter_ns() - start) / 1e6


class Mnn(Runtime):
    """MNN's processor backend; ONNX files are converted first."""

    name = "mnn"
    extra = "mnn"
    modules = ("MNN", "_tools")
    distribution = "MNN"
    suffixes = (".mnn",)
    note = "converted from the ONNX file, GELU not approximated"

    def convert(self, source: Path, inputs: Inputs, stem: Path) -> None:
        written = stem.with_name(stem.name + self.suffixes[0])
        # The converter's own script is no way in: on import it installs a logging package with pip and uses it.
        import_module("MNN")
        tools: Any = import_module("_tools")
        command = ["mnnconvert", "-f", "ONNX", "--modelFile", str(source), "--MNNModel", str(written), *OPTIONS]
        with overheard() as said:
            tools.mnnconvert(command)
            lines = [line for line in said() if UNSUPPORTED in line]
        if not written.is_file():
            reason = f"it lacks {lines[0].split(UNSUPPORTED)[1].strip()}" if lines else "its converter gives no reason"
            raise UserError(f"MNN cannot convert {source}: {reason}; export the portable form for it.")

    def open(self, opened: Opened) -> Session:
        return MnnSession(opened)


RUNTIMES.register(Mnn.name)(Mnn())
