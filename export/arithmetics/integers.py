"""int8 with *dynamic* quantization: weights are rounded once at export, activations at every run.

It is written with portable operators in the very shape that ONNX Runtime fuses into its integer kernels, at a
thousandth of the time that quantizing a finished graph takes, which matters where hundreds of blocks are profiled.

Activations are unsigned and weights signed, the pairing for which processors with VNNI or ARM's dot products have an
exact instruction. Older x86 adds pairs of products in 16 bits: of two real classifiers' every 20,000th would not fit.
"""

from functools import partial

from export.arithmetics.contract import ARITHMETICS, Arithmetic, Ranges
from export.arithmetics.evening import evened
from export.arithmetics.rounding import quantize_rows
from export.builder import FLOAT, Array, GraphBuilder


def dynamic_product(builder: GraphBuilder, source: str, integers: str, scales: str, name: str) -> str:
    """`source` [..., in], rounded as it comes, times an int8 tensor [in, out] with a scale per output."""
    # Queries, keys and values share a source: it is rounded once.
    rounded, scale, zero = (f"{source}:{part}" for part in ("integers", "scale", "zero"))
    if not builder.made(rounded):
        builder.nodes("DynamicQuantizeLinear", [source], (rounded, scale, zero))
    product = builder.node("MatMulInteger", [rounded, integers, zero], f"{name}.integers")
    number = builder.node("Cast", [product], f"{name}.cast", to=FLOAT)
    step = builder.node("Mul", [scale, scales], f"{name}.scale")
    return builder.node("Mul", [number, step], f"{name}.product")


def _byte_product(builder: GraphBuilder, source: str, weight: Array, name: str) -> str:
    rounded, scales = quantize_rows(weight)
    stored, steps = builder.weight(f"{name}.weight", rounded.T), builder.weight(f"{name}.weight.scale", scales)
    return dynamic_product(builder, source, stored, steps, name)


def _evened_product(ranges: Ranges, builder: GraphBuilder, source: str, weight: Array, name: str) -> str:
    return _byte_product(builder, *evened(ranges, builder, source, weight, name), name)


def widened_product(builder: GraphBuilder, source: str, weight: Array, name: str) -> str:
    """A product in fp32 by a weight that is stored in int8."""
    rounded, scales = quantize_rows(weight)
    number = builder.node("Cast", [builder.weight(f"{name}.weight", rounded.T)], f"{name}.weight.number", to=FLOAT)
    steps = builder.weight(f"{name}.weight.scale", scales)
    wide = builder.node("Mul", [number, steps], f"{name}.weight.wide")
    return builder.node("MatMul", [source, wide], f"{name}.product")


def byte_rows(builder: GraphBuilder, ids: str, table: Array, name: str) -> str:
    """The rows of a table that is stored in int8 with a scale a row."""
    rounded, scales = quantize_rows(table)
    integers = builder.node("Gather", [builder.weight(f"{name}.weight", rounded), ids], f"{name}.integers")
    number = builder.node("Cast", [integers], f"{name}.cast", to=FLOAT)
    step = builder.node("Gather", [builder.weight(f"{name}.weight.scale", scales[:, None]), ids], f"{name}.scale")
    return builder.node("Mul", [number, step], name)


def byte_whole(builder: GraphBuilder, table: Array, name: str) -> str:
    """A table that is stored in int8 with a scale a row."""
    rounded, scales = quantize_rows(table)
    number = builder.node("Cast", [builder.weight(f"{name}.weight", rounded)], f"{name}.weight.number", to=FLOAT)
    steps = builder.weight(f"{name}.weight.scale", scales[:, None])
    return builder.node("Mul", [number, steps], f"{name}.weight.wide")


ARITHMETICS.register("int8")(
    Arithmetic(
        _byte_product, widened_product, byte_rows, byte_whole, improved=lambda ranges: partial(_evened_product, ranges)
    )
)
