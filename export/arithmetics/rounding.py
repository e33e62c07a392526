"""Numbers with few bits: rows or blocks of weights become integers and scales."""

from dataclasses import dataclass

import numpy as np

from export.builder import Array

INT8_LIMIT = 127
"""−128 is left unused, so that the range is symmetric and zero is exact."""

HALF_LIMIT = 65504.0
"""The largest number of half precision."""

SHRINKS = (1.0, 0.95, 0.9, 0.85, 0.8)
"""A block's largest weight may be cut by these factors where that brings the others nearer."""


def halved(weight: Array) -> Array:
    """Half precision; what lies beyond its range becomes its largest number instead of infinity."""
    return np.clip(weight, -HALF_LIMIT, HALF_LIMIT).astype(np.float16)


def row_scales(weight: Array) -> Array:
    """float32 [rows]: what one step of int8 is worth in each row of [rows, width]."""
    largest = np.abs(weight).max(axis=1)
    return np.asarray(np.where(largest > 0, largest, 1.0) / INT8_LIMIT, dtype=np.float32)


def quantize_rows(weight: Array) -> tuple[Array, Array]:
    """float [rows, width] → int8 [rows, width] and float32 scales [rows] with weight ≈ int8 · scale."""
    scales = row_scales(weight)
    return np.rint(weight / scales[:, None]).astype(np.int8), scales


@dataclass(frozen=True)
class Blocks:
    """Rows cut into blocks with a scale each: weight ≈ (levels − 2^(bits − 1)) · scale."""

    levels: Array
    """uint8 [rows, blocks, block]; past a row's end it stands at the level of zero."""
    scales: Array
    """float32 [rows, blocks]."""
    bits: int

    @property
    def zero(self) -> int:
        """The level that means 0."""
        return 1 << (self.bits - 1)

    def values(self, width: int) -> Array:
        """float32 [rows, `width`] as a graph will see them."""
        numbers = (self.levels.astype(np.float32) - self.zero) * self.scales[:, :, None]
        return numbers.reshape(len(numbers), -1)[:, :width]


def even_block(width: int, most: int) -> int:
    """The smallest even size whose blocks, no more of them than blocks of `most` would be, hold `width` numbers."""
    count = -(-width // most)
    size = -(-width // count)
    return size + size % 2


def quantize_blocks(weight: Array, bits: int, block: int) -> Blocks:
    """float [rows, width] → integers of `bits` bits with a scale per `block` numbers of a row.

    The number farthest from zero becomes the lowest level, so that all levels are used whatever its sign; of a few cuts
    of the range, the one with the least squared error is taken, block by block.
    """
    rows, width = weight.shape
    count = -(-width // block)
    padded = np.zeros((rows, count * block), dtype=np.float32)
    padded[:, :width] = weight
    parts = padded.reshape(rows, count, block)
    extreme = np.take_along_axis(parts, np.abs(parts).argmax(axis=2, keepdims=True), axis=2)[:, :, 0]
    zero = 1 << (bits - 1)
    # The scales are those that half precision holds, so that files may store them so.
    widest = np.where(extreme == 0, np.float32(1.0), extreme) / np.float32(-zero)
    best, errors = halved(widest).astype(np.float32), np.full((rows, count), np.inf, dtype=np.float32)
    for shrink in SHRINKS:
        scales = halved(widest * np.float32(shrink)).astype(np.float32)
        scales = np.where(scales == 0, np.float32(6e-8), scales)
        levels = np.clip(np.rint(parts / scales[:, :, None]), -zero, zero - 1)
        found = np.square(levels * scales[:, :, None] - parts).sum(axis=2)
        best, errors = np.where(found < errors, scales, best), np.minimum(found, errors)
    levels = np.clip(np.rint(parts / best[:, :, None]), -zero, zero - 1) + zero
    return Blocks(levels.astype(np.uint8), best, bits)


def pack_pairs(levels: Array) -> Array:
    """4-bit levels [..., even] → bytes [..., half], neighbours together, the earlier one in the low half."""
    return np.asarray(levels[..., 0::2] | (levels[..., 1::2] << 4), dtype=np.uint8)


def pack_halves(levels: Array) -> Array:
    """4-bit levels [even, ...] → bytes [half, ...]: the first half in the low bits, the second in the high bits."""
    half = len(levels) // 2
    return np.asarray(levels[:half] | (levels[half:] << 4), dtype=np.uint8)
