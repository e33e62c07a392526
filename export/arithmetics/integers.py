"""int8 with *dynamic* quantization: weights are rounded once at export, activations at every run.

It is written with portable operators in the very shape that ONNX Runtime fuses into its integer kernels, at a
thousandth of the time that quantizing a finished graph takes, which matters where hundreds of blocks are profiled.
"""

import numpy as np

from export.arithmetics.contract import ARITHMETICS, Arithmetic
from export.arithmetics.rounding import quantize_rows
from export.builder import FLOAT, Array, GraphBuilder


def _dynamic_product(builder: GraphBuilder, source: str, weight: Array, name: str) -> str:
    rounded, scales = quantize_rows(weight)
    # Queries, keys and values share a source: it is rounded once.
    integers, scale, zero = (f"{source}:{part}" for part in ("integers", "scale", "zero"))
    if not builder.made(integers):
        builder.nodes("DynamicQuantizeLinear", [source], (integers, scale, zero))
    operands = [
        integers,
        builder.weight(f"{name}.weight", rounded.T),
        zero,
        builder.weight(f"{name}.weight.zero", np.zeros(len(rounded), dtype=np.int8)),
    ]
    product = builder.node("MatMulInteger", operands, f"{name}.integers")
    number = builder.node("Cast", [product], f"{name}.cast", to=FLOAT)
    step = builder.node("Mul", [scale, builder.weight(f"{name}.weight.scale", scales)], f"{name}.scale")
    return builder.node("Mul", [number, step], f"{name}.product")


def byte_rows(builder: GraphBuilder, ids: str, table: Array, name: str) -> str:
    """The rows of a table that is stored in int8 with a scale a row."""
    rounded, scales = quantize_rows(table)
    integers = builder.node("Gather", [builder.weight(f"{name}.weight", rounded), ids], f"{name}.integers")
    number = builder.node("Cast", [integers], f"{name}.cast", to=FLOAT)
    step = builder.node("Gather", [builder.weight(f"{name}.weight.scale", scales[:, None]), ids], f"{name}.scale")
    return builder.node("Mul", [number, step], name)


ARITHMETICS.register("int8")(Arithmetic(_dynamic_product, byte_rows))
