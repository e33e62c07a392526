"""fp32: weights as they are; fp16: weights stored in half precision and widened before they are used.

Widening a weight is arithmetic on constants, which runtimes do once, at load: a file of half the size, the same
latency. A table is widened row by row as it is read, so it also takes half the memory.
"""

from export.arithmetics.contract import ARITHMETICS, Arithmetic
from export.arithmetics.rounding import halved
from export.builder import FLOAT, Array, GraphBuilder


def _float_product(builder: GraphBuilder, source: str, weight: Array, name: str) -> str:
    # MatMul and not Gemm, since sources may have three axes; it wants the weight as [in, out].
    return builder.node("MatMul", [source, builder.weight(f"{name}.weight", weight.T)], f"{name}.product")


def _float_rows(builder: GraphBuilder, ids: str, table: Array, name: str) -> str:
    return builder.node("Gather", [builder.weight(f"{name}.weight", table), ids], name)


def _float_whole(builder: GraphBuilder, table: Array, name: str) -> str:
    return builder.weight(f"{name}.weight", table)


def _half_whole(builder: GraphBuilder, table: Array, name: str) -> str:
    return builder.node("Cast", [builder.weight(f"{name}.weight", halved(table))], f"{name}.weight.wide", to=FLOAT)


def _half_product(builder: GraphBuilder, source: str, weight: Array, name: str) -> str:
    return builder.node("MatMul", [source, _half_whole(builder, weight.T, name)], f"{name}.product")


def _half_rows(builder: GraphBuilder, ids: str, table: Array, name: str) -> str:
    read = builder.node("Gather", [builder.weight(f"{name}.weight", halved(table)), ids], f"{name}.halves")
    return builder.node("Cast", [read], name, to=FLOAT)


ARITHMETICS.register("fp32")(Arithmetic(_float_product, _float_product, _float_rows, _float_whole))
ARITHMETICS.register("fp16")(Arithmetic(_half_product, _half_product, _half_rows, _half_whole))
