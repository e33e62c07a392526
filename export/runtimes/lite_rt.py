"""The runtime `litert`: Google's LiteRT (once TensorFlow Lite), converted from the checkpoint by litert-torch."""

import warnings
from importlib import import_module
from pathlib import Path
from time import perf_counter_ns
from typing import Any

import numpy as np
import numpy.typing as npt

from devices.target import Session
from export.runtimes.contract import RUNTIMES, Inputs, Opened, Runtime, as_numbers
from runs.errors import UserError


class LiteRtSession(Session):
    """An interpreter of LiteRT with its XNNPACK delegate."""

    def __init__(self, opened: Opened) -> None:
        library: Any = import_module("ai_edge_litert.interpreter")
        try:
            self._interpreter: Any = library.Interpreter(str(opened.file), num_threads=opened.threads)
            self._interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as problem:
            raise UserError(f"LiteRT cannot load {opened.file}: {str(problem).splitlines()[0]}") from problem
        self._inputs = opened.inputs
        # Arguments are numbered in the order in which the module took them; the interpreter lists them in any.
        self._places = sorted(self._interpreter.get_input_details(), key=lambda place: str(place["name"]))
        self._answers = sorted(self._interpreter.get_output_details(), key=lambda place: str(place["name"]))

    def _feed(self) -> None:
        for place, value in zip(self._places, self._inputs.values(), strict=True):
            self._interpreter.set_tensor(place["index"], value.astype(place["dtype"]))

    def run(self) -> list[npt.NDArray[np.float32]]:
        self._feed()
        self._interpreter.invoke()
        return [as_numbers(self._interpreter.get_tensor(answer["index"])) for answer in self._answers]

    def time_ms(self) -> float:
        start = perf_counter_ns()
        self._feed()
        self._interpreter.invoke()
        for answer in self._answers:
            self._interpreter.get_tensor(answer["index"])
        return (perf_counter_ns() - start) / 1e6


class LiteRt(Runtime):
    """LiteRT on the processor, fp32."""

    name = "litert"
    extra = "litert"
    modules = ("ai_edge_litert", "litert_torch")
    distribution = "ai-edge-litert"
    source = "checkpoint"
    suffixes = (".tflite",)
    note = "converted from the checkpoint in fp32 for one shape"

    def convert(self, source: Path, inputs: Inputs, stem: Path) -> None:
        # PyTorch is a matter of the converter alone; the process that is timed does not load it.
        warnings.simplefilter("ignore")
        from export.runtimes.positional import positional

        converter: Any = import_module("litert_torch")
        module, tensors = positional(source, inputs)
        try:
            converter.convert(module, tensors).export(str(stem.with_name(stem.name + self.suffixes[0])))
        except (RuntimeError, ValueError, NotImplementedError, TypeError) as problem:
            reason = (str(problem).strip().splitlines() or [type(problem).__name__])[0]
            raise UserError(f"litert-torch cannot convert {source}: {reason}") from problem

    def open(self, opened: Opened) -> Session:
        return LiteRtSession(opened)


RUNTIMES.register(LiteRt.name)(LiteRt())
