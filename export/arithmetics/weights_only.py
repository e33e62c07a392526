"""Weight-only precisions: weights of 8 or 4 bits, arithmetic on floats.

The portable form widens a weight by arithmetic on constants, which runtimes do once, at load: a small file, the latency
of fp32. ONNX Runtime has an operator that multiplies by the small weights themselves.
"""

from functools import partial

from export.arithmetics.contract import ARITHMETICS, MICROSOFT, Arithmetic, Product, Rows, Whole
from export.arithmetics.integers import byte_rows, byte_whole, widened_product
from export.arithmetics.nibbles import nibble_rows, nibble_weight, nibble_whole
from export.arithmetics.rounding import pack_pairs, quantize_blocks
from export.builder import Array, GraphBuilder

ROUND_ACTIVATIONS = 4
"""MatMulNBits' accuracy level at which it rounds activations to 8 bits, block by block, and multiplies integers."""

BLOCKS = {8: (32, 64, 128, 256), 4: (32,)}
"""Bits → block sizes to choose from.

Of 4 bits, blocks of 128 are a fifth faster than blocks of 32, but change every hundredth answer of a real 6 × 384
classifier, where those of 32 change every two hundredth.
"""

BLOCK_COST = 32
"""A block takes about as long as so many more numbers in it would; fitted to ONNX Runtime 1.31 on a Zen 4."""


def _nibble_product(builder: GraphBuilder, source: str, weight: Array, name: str) -> str:
    wide, _ = nibble_weight(builder, weight, name)
    return builder.node("MatMul", [source, wide], f"{name}.product")


def fast_block(bits: int, width: int) -> int:
    """The block size with which MatMulNBits runs fastest: large ones cost less, unless they pad the rows a lot."""
    return min(BLOCKS[bits], key=lambda block: -(-width // block) * block * (1 + BLOCK_COST / block))


def _few_bits_product(bits: int, builder: GraphBuilder, source: str, weight: Array, name: str) -> str:
    outputs, width = weight.shape
    block = fast_block(bits, width)
    blocks = quantize_blocks(weight, bits, block)
    levels = blocks.levels if bits == 8 else pack_pairs(blocks.levels)
    stored = builder.weight(f"{name}.weight", levels)
    steps = builder.weight(f"{name}.weight.scale", blocks.scales.reshape(-1))
    builder.require(MICROSOFT)
    sizes = {"K": width, "N": outputs, "bits": bits, "block_size": block, "accuracy_level": ROUND_ACTIVATIONS}
    return builder.node("MatMulNBits", [source, stored, steps], f"{name}.product", domain=MICROSOFT, **sizes)


def _weights_only(bits: int, product: Product, rows: Rows, whole: Whole) -> Arithmetic:
    return Arithmetic(product, widened_product, rows, whole, {"onnxruntime": partial(_few_bits_product, bits)})


ARITHMETICS.register("int8-weights")(_weights_only(8, widened_product, byte_rows, byte_whole))
ARITHMETICS.register("int4-weights")(_weights_only(4, _nibble_product, nibble_rows, nibble_whole))
