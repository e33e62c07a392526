"""What memory a file takes in ONNX Runtime: measured in a process of its own, and which part of it the texts need."""

from functools import singledispatch
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from devices.workload import Workload
from export.graph_file import graph_inputs, read_graph_file
from export.runtimes.processes import Interpreters, ask
from runs.errors import UserError
from students.operators import Activate, Attention, Depthwise, Gather, Norm, Operator, Product, operators
from students.spec import Block

RUNTIME = "onnxruntime"
NUMBER_BYTES = 4.0


def memory_bytes(file: Path, workload: Workload) -> int:
    """The most bytes that a fresh process takes to load an ONNX file and to run it on full texts of the workload.

    The runtime's own library is counted, Python and what else the process has had before are not. Raises `UserError`
    for a file that ONNX Runtime cannot load or this machine has no memory for.
    """
    info = read_graph_file(file)
    with TemporaryDirectory(prefix="tailorbird-memory-") as scratch:
        inputs, arrays = Path(scratch) / "inputs.npz", dict[str, Any](graph_inputs(info, workload))
        np.savez(inputs, **arrays)
        details = {"inputs": str(inputs), "file": str(file.resolve()), "outputs": info.outputs}
        try:
            told = ask(RUNTIME, "weigh", Interpreters(), threads=workload.threads, **details)
        except (UserError, RuntimeError) as problem:
            reason = str(problem).strip().splitlines()[-1]
            raise UserError(f"what memory {file.name} takes could not be measured: {reason}") from problem
    taken: int = told["peak_memory_bytes"] - told["idle_memory_bytes"]
    return taken


def working_bytes(block: Block, workload: Workload) -> float:
    """Bytes that the largest operator of a block reads and writes beside its weights, in 32 bits a number."""
    made = operators(block, workload.batch_size, workload.sequence_length)
    return NUMBER_BYTES * max(_numbers(operator) for operator in made)


@singledispatch
def _numbers(operator: Operator) -> float:
    raise TypeError(f"{type(operator).__name__} is not an operator")


@_numbers.register
def _(operator: Product) -> float:
    return operator.rows * (operator.inner + operator.columns)


@_numbers.register
def _(operator: Attention) -> float:
    looked_at = operator.head_width * 2 * (operator.queries + operator.keys)
    return operator.texts * operator.heads * (operator.queries * operator.keys + looked_at)


@_numbers.register(Norm)
@_numbers.register(Activate)
@_numbers.register(Depthwise)
def _(operator: Norm | Activate | Depthwise) -> float:
    return 2 * operator.rows * operator.width


@_numbers.register
def _(operator: Gather) -> float:
    return operator.rows * operator.width
