"""Parameter, FLOP and byte counts of each block, written once for plain integers and for arrays of many students.

FLOPs count matrix products only, two per multiply-add, as `torch.utils.flop_counter` does. Bytes are the weights read
once plus every operator's inputs and outputs, which is what a machine without fusion moves.
"""

from typing import TypeVar

import numpy as np
import numpy.typing as npt

Count = TypeVar("Count", int, npt.NDArray[np.float64])

ACTIVATION_BYTES = 4
"""Activations stay fp32 at every weight precision."""


def layer_parameters(hidden: Count, qkv: Count, ffn: Count) -> Count:
    """A transformer layer: Q, K, V, output and two feed-forward projections with biases, two layer norms."""
    attention = 3 * (hidden * qkv + qkv) + qkv * hidden + hidden
    feed_forward = hidden * ffn + ffn + ffn * hidden + hidden
    return attention + feed_forward + 4 * hidden


def layer_flops(hidden: Count, qkv: Count, ffn: Count, batch: int, length: int, answered: Count | int) -> Count:
    """Projections, and the two products of attention whose cost grows with the square of the length.

    `answered` tokens of all texts together go through the layer; keys and values are made of all tokens in any case.
    """
    looked_at = 4 * batch * length * hidden * qkv
    return looked_at + answered * (4 * hidden * qkv + 4 * hidden * ffn + 4 * length * qkv)


def layer_activations(
    hidden: Count, qkv: Count, ffn: Count, heads: Count, batch: int, length: int, answered: Count | int
) -> Count:
    """Elements read and written by the operators of one layer, the attention scores among them; `answered` as above."""
    looked_at = batch * length * (2 * hidden + 4 * qkv)
    return looked_at + answered * (12 * hidden + 4 * qkv + 4 * ffn + 6 * length * heads)


def embedding_parameters(embedding: Count, hidden: Count, rows: Count, factorised: Count) -> Count:
    """`rows` is words + positions + token types; `factorised` is 1 where a projection to the hidden width follows."""
    return rows * embedding + 2 * embedding + factorised * (embedding * hidden + hidden)


def embedding_flops(embedding: Count, hidden: Count, factorised: Count, batch: int, length: int) -> Count:
    """Only a factorised embedding multiplies anything."""
    return factorised * (2 * batch * length * embedding * hidden)


def embedding_activations(embedding: Count, hidden: Count, factorised: Count, batch: int, length: int) -> Count:
    """Three gathers, two sums and a layer norm, then the projection where there is one."""
    return batch * length * (9 * embedding + factorised * (embedding + 2 * hidden))


def head_parameters(hidden: Count, labels: Count) -> Count:
    """BERT's pooler and a linear classifier."""
    return hidden * hidden + hidden + hidden * labels + labels


def head_flops(hidden: Count, labels: Count, batch: int) -> Count:
    """The head sees the first token alone, so the length does not matter."""
    return 2 * batch * (hidden * hidden + hidden * labels)


def head_activations(hidden: Count, labels: Count, batch: int) -> Count:
    """The first token in, pooled, squashed, classified."""
    return batch * (6 * hidden + labels)
