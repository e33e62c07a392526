"""How weights are held and multiplied in a graph: fp32 as they are, or int8 with a scale a row.

int8 is *dynamic* quantization: weights are rounded once at export, activations at every run from the range they have
then. It is written with portable operators in the very shape that ONNX Runtime fuses into its integer kernels, at a
thousandth of the time that quantizing a finished graph takes, which matters where hundreds of blocks are profiled.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from export.builder import FLOAT, Array, GraphBuilder
from runs.registry import Registry

INT8_LIMIT = 127
"""−128 is left unused, so that the range is symmetric and zero is exact."""


@dataclass(frozen=True)
class Arithmetic:
    """The two ways in which a graph reads a large weight; both return the name of a float tensor."""

    product: Callable[[GraphBuilder, str, Array, str], str]
    """(builder, source [..., in], weight [out, in], name) → [..., out] without a bias."""
    rows: Callable[[GraphBuilder, str, Array, str], str]
    """(builder, ids [batch, sequence], table [rows, width], name) → [batch, sequence, width]."""


ARITHMETICS: Registry[Arithmetic] = Registry("precision")


def _float_product(builder: GraphBuilder, source: str, weight: Array, name: str) -> str:
    # MatMul and not Gemm, since sources have three axes; it wants the weight as [in, out].
    return builder.node("MatMul", [source, builder.weight(f"{name}.weight", weight.T)], f"{name}.product")


def _float_rows(builder: GraphBuilder, ids: str, table: Array, name: str) -> str:
    return builder.node("Gather", [builder.weight(f"{name}.weight", table), ids], name)


def quantize_rows(weight: Array) -> tuple[Array, Array]:
    """float [rows, width] → int8 [rows, width] and float32 scales [rows] with weight ≈ int8 · scale."""
    largest = np.abs(weight).max(axis=1)
    scales = (np.where(largest > 0, largest, 1.0) / INT8_LIMIT).astype(np.float32)
    return np.rint(weight / scales[:, None]).astype(np.int8), scales


def _int8_product(builder: GraphBuilder, source: str, weight: Array, name: str) -> str:
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


def _int8_rows(builder: GraphBuilder, ids: str, table: Array, name: str) -> str:
    rounded, scales = quantize_rows(table)
    integers = builder.node("Gather", [builder.weight(f"{name}.weight", rounded), ids], f"{name}.integers")
    number = builder.node("Cast", [integers], f"{name}.cast", to=FLOAT)
    step = builder.node("Gather", [builder.weight(f"{name}.weight.scale", scales[:, None]), ids], f"{name}.scale")
    return builder.node("Mul", [number, step], name)


ARITHMETICS.register("fp32")(Arithmetic(_float_product, _float_rows))
ARITHMETICS.register("int8")(Arithmetic(_int8_product, _int8_rows))
