"""int4: weights stored in 4 bits, two a byte, and multiplied in 8 bits as `int8` does.

What the file holds is unpacked by arithmetic on constants, which runtimes do once, at load; only basic operators are
used, since few runtimes know 4-bit tensors. Rows of a table are unpacked as they are read.
"""

from export.arithmetics.contract import ARITHMETICS, Arithmetic
from export.arithmetics.integers import dynamic_product, widened_product
from export.arithmetics.rounding import even_block, halved, pack_halves, quantize_blocks, row_scales
from export.builder import FLOAT, INT8, Array, GraphBuilder

NIBBLE = 16
BLOCK = 32
"""Weights that share a scale; the same for products and tables, so that a tied embedding is stored once."""


def _unpacked(builder: GraphBuilder, packed: str, name: str, axis: int) -> str:
    """Bytes of `pack_halves` as numbers from −8 to 7, in operators that every runtime has."""
    number = builder.node("Cast", [packed], f"{name}.bytes", to=FLOAT)
    shifted = builder.node("Mul", [number, builder.scalar(1.0 / NIBBLE)], f"{name}.shifted")
    high = builder.node("Floor", [shifted], f"{name}.high")
    above = builder.node("Mul", [high, builder.scalar(float(NIBBLE))], f"{name}.above")
    low = builder.node("Sub", [number, above], f"{name}.low")
    both = builder.node("Concat", [low, high], f"{name}.levels", axis=axis)
    return builder.node("Sub", [both, builder.scalar(float(NIBBLE // 2))], f"{name}.centred")


def nibble_weight(builder: GraphBuilder, weight: Array, name: str) -> tuple[str, Array]:
    """A weight [out, in] stored in 4 bits: the float tensor [in, out] a graph makes of it, and its numbers."""
    outputs, width = weight.shape
    block = even_block(width, BLOCK)
    blocks = quantize_blocks(weight, 4, block)
    count = blocks.scales.shape[1]
    packed = builder.weight(f"{name}.weight", pack_halves(blocks.levels.reshape(outputs, -1).T))
    numbers = _unpacked(builder, packed, f"{name}.weight", axis=0)
    cut = builder.node("Reshape", [numbers, builder.integers(count, block, outputs)], f"{name}.weight.blocks")
    scales = builder.weight(f"{name}.weight.steps", halved(blocks.scales.T[:, None, :]))
    step = builder.node("Cast", [scales], f"{name}.weight.step", to=FLOAT)
    scaled = builder.node("Mul", [cut, step], f"{name}.weight.scaled")
    wide = builder.node("Reshape", [scaled, builder.integers(count * block, outputs)], f"{name}.weight.wide")
    if count * block > width:
        wide = builder.node("Slice", [wide, *map(builder.integers, (0, width, 0))], f"{name}.weight.cut")
    return wide, blocks.values(width).T


def _nibble_product(builder: GraphBuilder, source: str, weight: Array, name: str) -> str:
    wide, values = nibble_weight(builder, weight, name)
    scales = builder.weight(f"{name}.weight.scale", row_scales(values.T))
    fine = builder.node("Div", [wide, scales], f"{name}.weight.fine")
    levels = builder.node("Round", [fine], f"{name}.weight.near")
    integers = builder.node("Cast", [levels], f"{name}.weight.integers", to=INT8)
    return dynamic_product(builder, source, integers, scales, name)


def nibble_rows(builder: GraphBuilder, ids: str, table: Array, name: str) -> str:
    """The rows of a table that is stored in 4 bits, for ids of two axes."""
    rows, width = table.shape
    block = even_block(width, BLOCK)
    blocks = quantize_blocks(table, 4, block)
    count = blocks.scales.shape[1]
    packed = builder.weight(f"{name}.weight", pack_halves(blocks.levels.reshape(rows, -1).T).T)
    numbers = _unpacked(builder, builder.node("Gather", [packed, ids], f"{name}.packed"), name, axis=-1)
    cut = builder.node("Reshape", [numbers, builder.integers(0, 0, count, block)], f"{name}.blocks")
    scales = builder.weight(f"{name}.weight.scale", halved(blocks.scales[:, :, None]))
    step = builder.node("Gather", [scales, ids], f"{name}.scale")
    scaled = builder.node("Mul", [cut, builder.node("Cast", [step], f"{name}.step", to=FLOAT)], f"{name}.scaled")
    if count * block == width:
        return builder.node("Reshape", [scaled, builder.integers(0, 0, width)], name)
    wide = builder.node("Reshape", [scaled, builder.integers(0, 0, count * block)], f"{name}.wide")
    return builder.node("Slice", [wide, *map(builder.integers, (0, width, -1))], name)


def nibble_whole(builder: GraphBuilder, table: Array, name: str) -> str:
    """A table that is stored in 4 bits."""
    turned, _ = nibble_weight(builder, table, name)
    return builder.node("Transpose", [turned], f"{name}.weight.rows", perm=(1, 0))


ARITHMETICS.register("int4")(Arithmetic(_nibble_product, widened_product, nibble_rows, nibble_whole))
