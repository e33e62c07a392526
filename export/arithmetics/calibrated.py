"""int8 with *static* quantization: activations are rounded by ranges that were found beforehand, on texts of the task.

Written as pairs of QuantizeLinear and DequantizeLinear around a plain product, which runtimes with integer kernels
recognise and others compute in fp32 with the same roundings.
"""

from functools import partial

import numpy as np

from export.arithmetics.contract import ARITHMETICS, Arithmetic, Ranges
from export.arithmetics.integers import byte_rows
from export.arithmetics.rounding import quantize_rows
from export.builder import Array, GraphBuilder
from runs.errors import UserError

STEPS = 255
"""Between the lowest and the highest uint8."""


def affine_scale(low: float, high: float) -> tuple[Array, Array]:
    """float32 scale and uint8 zero point of a range, which is widened to hold 0, so that padding stays exactly 0."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = np.float32((high - low) / STEPS or 1.0)
    return np.asarray(scale), np.asarray(np.clip(np.rint(-low / scale), 0, STEPS), dtype=np.uint8)


def _range(ranges: Ranges, name: str) -> tuple[float, float]:
    if name not in ranges:
        raise UserError(f"the calibration knows nothing of {name}: calibrate this very model again.")
    return ranges[name]


def _static_product(ranges: Ranges, builder: GraphBuilder, source: str, weight: Array, name: str) -> str:
    rounded, scales = quantize_rows(weight)
    near = f"{source}:rounded"
    # Queries, keys and values share a source: it is rounded once.
    if not builder.made(near):
        scale, zero = affine_scale(*_range(ranges, name))
        grid = [builder.weight(f"{source}:scale", scale), builder.weight(f"{source}:zero", zero)]
        integers = builder.node("QuantizeLinear", [source, *grid], f"{source}:integers")
        builder.node("DequantizeLinear", [integers, *grid], near)
    stored = [
        builder.weight(f"{name}.weight", rounded.T),
        builder.weight(f"{name}.weight.scale", scales),
        builder.weight(f"{name}.weight.zero", np.zeros(len(rounded), dtype=np.int8)),
    ]
    wide = builder.node("DequantizeLinear", stored, f"{name}.weight.wide", axis=1)
    return builder.node("MatMul", [near, wide], f"{name}.product")


def _unknown(builder: GraphBuilder, source: str, weight: Array, name: str) -> str:
    raise UserError(f"int8-static needs the range of what {name} multiplies: calibrate on texts first.")


def _calibrated(ranges: Ranges) -> Arithmetic:
    return Arithmetic(partial(_static_product, ranges), byte_rows)


ARITHMETICS.register("int8-static")(Arithmetic(_unknown, byte_rows, calibrated=_calibrated))
