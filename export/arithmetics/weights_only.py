"""Weight-only precisions: weights of 8 or 4 bits, arithmetic on floats.

The portable form widens a weight by arithmetic on constants, which runtimes do once, at load: a small file, the latency
of fp32. ONNX Runtime has an operator that multiplies by the small weights themselves.
"""

from functools import partial

import numpy as np

from export.arithmetics.contract import ARITHMETICS, Arithmetic, Product, Rows
from export.arithmetics.integers import byte_rows
from export.arithmetics.rounding import even_block, halved, pack_halves, pack_pairs, quantize_blocks, quantize_rows
from export.builder import FLOAT, Array, GraphBuilder

MICROSOFT = "com.microsoft"
"""The domain of ONNX Runtime's own operators."""

ROUND_ACTIVATIONS = 4
"""MatMulNBits' accuracy level at which it rounds activations to 8 bits, block by block, and multiplies integers."""

NIBBLE = 16
PORTABLE_BLOCK = 32
ROW_BLOCK = 64


def _byte_product(builder: GraphBuilder, source: str, weight: Array, name: str) -> str:
    rounded, scales = quantize_rows(weight)
    number = builder.node("Cast", [builder.weight(f"{name}.weight", rounded.T)], f"{name}.weight.number", to=FLOAT)
    step = builder.weight(f"{name}.weight.scale", scales)
    wide = builder.node("Mul", [number, step], f"{name}.weight.wide")
    return builder.node("MatMul", [source, wide], f"{name}.product")


def _unpacked(builder: GraphBuilder, packed: str, name: str, axis: int) -> str:
    """Bytes of `pack_halves` as numbers from −8 to 7, in operators that every runtime has."""
    number = builder.node("Cast", [packed], f"{name}.bytes", to=FLOAT)
    shifted = builder.node("Mul", [number, builder.scalar(1.0 / NIBBLE)], f"{name}.shifted")
    high = builder.node("Floor", [shifted], f"{name}.high")
    above = builder.node("Mul", [high, builder.scalar(float(NIBBLE))], f"{name}.above")
    low = builder.node("Sub", [number, above], f"{name}.low")
    both = builder.node("Concat", [low, high], f"{name}.levels", axis=axis)
    return builder.node("Sub", [both, builder.scalar(float(NIBBLE // 2))], f"{name}.centred")


def _nibble_product(builder: GraphBuilder, source: str, weight: Array, name: str) -> str:
    outputs, width = weight.shape
    block = even_block(width, PORTABLE_BLOCK)
    blocks = quantize_blocks(weight, 4, block)
    count = blocks.scales.shape[1]
    packed = builder.weight(f"{name}.weight", pack_halves(blocks.levels.reshape(outputs, -1).T))
    numbers = _unpacked(builder, packed, f"{name}.weight", axis=0)
    cut = builder.node("Reshape", [numbers, builder.integers(count, block, outputs)], f"{name}.weight.blocks")
    scales = builder.weight(f"{name}.weight.scale", halved(blocks.scales.T[:, None, :]))
    step = builder.node("Cast", [scales], f"{name}.weight.step", to=FLOAT)
    scaled = builder.node("Mul", [cut, step], f"{name}.weight.scaled")
    wide = builder.node("Reshape", [scaled, builder.integers(count * block, outputs)], f"{name}.weight.wide")
    if count * block > width:
        zero, end = builder.integers(0), builder.integers(width)
        wide = builder.node("Slice", [wide, zero, end, zero], f"{name}.weight.cut")
    return builder.node("MatMul", [source, wide], f"{name}.product")


def _nibble_rows(builder: GraphBuilder, ids: str, table: Array, name: str) -> str:
    rows, width = table.shape
    block = even_block(width, ROW_BLOCK)
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
    return builder.node("Slice", [wide, *(builder.integers(number) for number in (0, width, -1))], name)


def _few_bits_product(bits: int, block: int, builder: GraphBuilder, source: str, weight: Array, name: str) -> str:
    outputs, width = weight.shape
    blocks = quantize_blocks(weight, bits, block)
    levels = blocks.levels if bits == 8 else pack_pairs(blocks.levels)
    stored = [
        builder.weight(f"{name}.weight", levels),
        builder.weight(f"{name}.weight.scale", blocks.scales.reshape(-1)),
    ]
    builder.require(MICROSOFT)
    sizes = {"K": width, "N": outputs, "bits": bits, "block_size": block, "accuracy_level": ROUND_ACTIVATIONS}
    return builder.node("MatMulNBits", [source, *stored], f"{name}.product", domain=MICROSOFT, **sizes)


def _special(bits: int, block: int) -> dict[str, Product]:
    return {"onnxruntime": partial(_few_bits_product, bits, block)}


ARITHMETICS.register("int8-weights")(Arithmetic(_byte_product, byte_rows, _special(8, 128)))
ARITHMETICS.register("int4-weights")(Arithmetic(_nibble_product, _nibble_rows, _special(4, 32)))
