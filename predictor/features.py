"""Numbers of a student that latency follows: its blocks' terms added up, terms of the whole, and what trees split on.

A table of students needs each distinct block described once (`predictor.terms`).
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from devices.workload import Precision, Workload
from predictor.terms import BLOCK_TERMS, PLACES, Matrix, block_terms
from students.table import ABSENT, BlockTable

SPLITS: dict[str, tuple[str, str | None]] = {
    "all_products": ("products", None),
    "all_weights": ("product_weights", None),
    "mean_weights": ("product_weights", "products"),
    "mean_norm_width": ("norm_elements", "norm_rows"),
    "mean_heads": ("attention_heads", "attentions"),
    "mean_head_width": ("attention_mflops", "attention_scores"),
}
"""What trees split on: a total of one term, or of one term over another's."""

SEQUENCE, BATCH = "sequence_length", "batch_size"

CACHES_MB = (1, 2, 4, 8, 16, 32)
"""Sizes of caches that a student's weights may be larger than: what lies beyond is read from slower memory every time.
Blocks share the cache, so this is no sum over them."""

WEIGHT_BYTES: dict[Precision, int] = {"fp32": 4, "bf16": 2, "fp16": 2, "int8": 1}

WHOLE_TERMS = (*(f"weights_beyond_{size}_mb" for size in CACHES_MB), "calls")
"""Names of the law's terms that belong to the whole; the last is 1, what a call costs."""

TERM_COUNT = len(BLOCK_TERMS) + len(WHOLE_TERMS)
"""How many leading columns of `feature_table` are the law's: those of the blocks, then those of the whole."""

FEATURES = (*BLOCK_TERMS, *WHOLE_TERMS, *SPLITS, SEQUENCE, BATCH)
"""Names of `feature_table`'s columns."""


def tree_columns(
    totals: npt.NDArray[np.floating], workload: Workload, places: Mapping[str, int] = PLACES
) -> npt.NDArray[np.floating]:
    """What trees split on [n, `SPLITS` and the workload's two], from the totals [n, f] of `block_terms`, in their type.

    `places` says in which column the total of each term stands. 0 where there is nothing to divide by.
    """
    columns = np.empty((len(totals), len(SPLITS) + 2), dtype=totals.dtype)
    for number, (over, under) in enumerate(SPLITS.values()):
        total = totals[:, places[over]]
        if under is None:
            columns[:, number] = total
        else:
            divisor = totals[:, places[under]]
            columns[:, number] = total / np.where(divisor > 0, divisor, np.inf)
    columns[:, -2:] = workload.sequence_length, workload.batch_size
    return columns


def whole_terms(
    totals: npt.NDArray[np.floating], workload: Workload, places: Mapping[str, int] = PLACES
) -> npt.NDArray[np.floating]:
    """`WHOLE_TERMS` [n, w] from the totals [n, f] of `block_terms`, which stand where `places` says, in their type."""
    terms = np.ones((len(totals), len(WHOLE_TERMS)), dtype=totals.dtype)
    megabytes = totals[:, places["product_weights"]] * WEIGHT_BYTES[workload.precision]
    for number, size in enumerate(CACHES_MB):
        np.maximum(megabytes - size, 0.0, out=terms[:, number])
    return terms


def used_blocks(table: BlockTable) -> npt.NDArray[np.int64]:
    """Numbers of the blocks that the table's rows are made of: a space's table lists all that it could be made of."""
    return np.unique(table.index[table.index != ABSENT]).astype(np.int64)


def used_block_terms(table: BlockTable, workload: Workload) -> Matrix:
    """`block_terms` of the blocks in use [blocks, f]; 0 for the others."""
    used = used_blocks(table)
    terms = np.zeros((len(table.blocks), len(BLOCK_TERMS)))
    terms[used] = block_terms([table.blocks[number] for number in used], workload)[0]
    return terms


def law_terms(table: BlockTable, workload: Workload) -> Matrix:
    """The law's terms of each row [n, `TERM_COUNT`], none negative: totals of the blocks' terms, and `whole_terms`."""
    totals = table.total(used_block_terms(table, workload))
    return np.hstack([totals, whole_terms(totals, workload)])


def feature_table(table: BlockTable, workload: Workload) -> Matrix:
    """`law_terms` and then `tree_columns`, [n, `FEATURES`]."""
    terms = law_terms(table, workload)
    return np.hstack([terms, tree_columns(terms, workload)])
