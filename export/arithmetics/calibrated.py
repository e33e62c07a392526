"""int8 with *static* quantization: activations are rounded by ranges that were found beforehand, on texts of the task.

Written as pairs of QuantizeLinear and DequantizeLinear around a plain product, which runtimes with integer kernels
recognise and others compute in fp32 with the same roundings.
"""

from functools import partial

import numpy as np

from export.arithmetics.contract import ARITHMETICS, MICROSOFT, Arithmetic, Product, Ranges, Reach
from export.arithmetics.evening import evened
from export.arithmetics.integers import byte_rows, byte_whole, widened_product
from export.arithmetics.rounding import quantize_rows
from export.builder import Array, GraphBuilder
from runs.errors import UserError

STEPS = 255
"""Between the lowest and the highest uint8."""

SMALLEST_STEP = 1e-30
"""Of a source that is always zero."""


def affine_scale(low: float, high: float) -> tuple[Array, Array]:
    """float32 scale and uint8 zero point of a range, which is widened to hold 0, so that padding stays exactly 0."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = np.float32(max((high - low) / STEPS, SMALLEST_STEP))
    return np.asarray(scale), np.asarray(np.clip(np.rint(-low / scale), 0, STEPS), dtype=np.uint8)


def _reach(ranges: Ranges, name: str) -> Reach:
    if name not in ranges:
        raise UserError(f"the calibration knows nothing of {name}: calibrate this very model again.")
    return ranges[name]


def _rounded(ranges: Ranges, builder: GraphBuilder, source: str, name: str) -> tuple[str, list[str]]:
    """`source` in uint8, and names of its scale and zero point; made once for all products that share it."""
    integers, grid = f"{source}:integers", [f"{source}:scale", f"{source}:zero"]
    if not builder.made(integers):
        reach = _reach(ranges, name)
        for given, value in zip(grid, affine_scale(reach.low, reach.high), strict=True):
            builder.weight(given, value)
        builder.node("QuantizeLinear", [source, *grid], integers)
    return integers, grid


def _static_product(ranges: Ranges, builder: GraphBuilder, source: str, weight: Array, name: str) -> str:
    source, weight = evened(ranges, builder, source, weight, name)
    integers, grid = _rounded(ranges, builder, source, name)
    near = f"{source}:rounded"
    if not builder.made(near):
        builder.node("DequantizeLinear", [integers, *grid], near)
    rounded, scales = quantize_rows(weight)
    stored = [
        builder.weight(f"{name}.weight", rounded.T),
        builder.weight(f"{name}.weight.scale", scales),
        builder.weight(f"{name}.weight.zero", np.zeros(len(rounded), dtype=np.int8)),
    ]
    wide = builder.node("DequantizeLinear", stored, f"{name}.weight.wide", axis=1)
    return builder.node("MatMul", [near, wide], f"{name}.product")


def _fused_product(ranges: Ranges, builder: GraphBuilder, source: str, weight: Array, name: str) -> str:
    """The operator that ONNX Runtime would make of the pairs, which as it stands can take a bias."""
    source, weight = evened(ranges, builder, source, weight, name)
    integers, (scale, zero) = _rounded(ranges, builder, source, name)
    rounded, scales = quantize_rows(weight)
    stored, steps = builder.weight(f"{name}.weight", rounded.T), builder.weight(f"{name}.weight.scale", scales)
    builder.require(MICROSOFT)
    inputs = [integers, stored, scale, steps, zero]
    return builder.node("MatMulIntegerToFloat", inputs, f"{name}.product", domain=MICROSOFT)


def _unknown(builder: GraphBuilder, source: str, weight: Array, name: str) -> str:
    raise UserError(f"int8-static needs the range of what {name} multiplies: calibrate on texts first.")


def _products(ranges: Ranges) -> dict[str, Product]:
    return {"portable": partial(_static_product, ranges), "onnxruntime": partial(_fused_product, ranges)}


ARITHMETICS.register("int8-static")(Arithmetic(_unknown, widened_product, byte_rows, byte_whole, calibrated=_products))
