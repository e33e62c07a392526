"""Numbers of a student that latency follows: terms that add up over its blocks, and summaries of the whole."""

import numpy as np
import numpy.typing as npt

from devices.workload import Workload
from runs.errors import UserError
from students import counts
from students.table import ACTIVATIONS, Column, SpecTable

Matrix = npt.NDArray[np.float64]

MILLION = 1e6
REGISTER_CHANNELS = 16
"""Kernels work on channels in groups of a vector register or two; a last, partial group costs as much as a full one."""

SEQUENCE, BATCH = "sequence_length", "batch_size"


def _padding(width: Column) -> Column:
    """Channels that a width lacks to the next multiple of `REGISTER_CHANNELS`."""
    return -width % REGISTER_CHANNELS


def _layer_terms(table: SpecTable, batch: int, length: int) -> dict[str, Column]:
    """Every term [n, depth] of transformer layers; 0 where a row has no layer."""
    present = table.present
    tokens, answered = batch * length, table.answered(batch, length) * present
    pairs = answered * length
    hidden = table.hidden_width[:, None] * present
    heads, qkv, ffn = table.heads, table.qkv_width, table.ffn_width
    head_width = qkv / np.maximum(heads, 1)
    padded_output = hidden * _padding(qkv) + qkv * _padding(hidden)
    padded_feed_forward = hidden * _padding(ffn) + ffn * _padding(hidden)
    padded = 2 * tokens * hidden * _padding(qkv) + answered * (padded_output + padded_feed_forward)
    terms = {
        "projection_mflops": 4 * (tokens + answered) * hidden * qkv / MILLION,
        "feed_forward_mflops": 4 * answered * hidden * ffn / MILLION,
        "padding_mflops": 2 * padded / MILLION,
        "attention_mflops": 4 * pairs * qkv / MILLION,
        "attention_padding_mflops": 4 * pairs * heads * _padding(head_width) / MILLION,
        "attention_scores": pairs * heads / MILLION,
        "hidden_elements": answered * hidden / MILLION,
        "qkv_elements": (tokens + answered) * qkv / MILLION,
        "ffn_elements": answered * ffn / MILLION,
        "layer_weights": counts.layer_parameters(hidden, qkv, ffn) / MILLION,
        "heads": batch * heads,
        "layers": present,
        # One token a text leaves products of a matrix and a vector, which take as long as reading the matrix does.
        "first_only_weights": table.first_only * counts.layer_parameters(hidden, qkv, ffn) / MILLION,
    }
    for index, name in enumerate(ACTIVATIONS):
        terms[f"{name}_elements"] = answered * ffn * (table.activation == index) / MILLION
    return terms


def _end_terms(table: SpecTable, batch: int, length: int) -> dict[str, Column]:
    """Every term [n] of embeddings and heads; 0 where a row has none."""
    tokens = batch * length
    embedding, hidden = table.embedding_width, table.hidden_width
    embedded = (embedding > 0).astype(np.float64)
    factorised = embedded * (embedding != hidden)
    answered = (table.labels > 0).astype(np.float64)
    return {
        "embeddings": embedded,
        "embedding_elements": tokens * embedding / MILLION,
        "embedding_mflops": counts.embedding_flops(embedding, hidden, factorised, batch, length) / MILLION,
        "answers": answered,
        "head_weights": answered * counts.head_parameters(hidden, table.labels) / MILLION,
        "head_mflops": answered * counts.head_flops(hidden, table.labels, batch) / MILLION,
    }


def _require_known(table: SpecTable) -> None:
    for unknown in table.unknown[table.unknown != ""]:
        raise UserError(
            f"the latency of a student with {unknown} cannot be predicted: the predictor knows transformer layers and "
            "heads over the first token alone; measure it with measure-student."
        )


def additive_terms(table: SpecTable, workload: Workload) -> tuple[Matrix, list[str]]:
    """Non-negative terms [n, f] that add up over blocks, and their names; the last, `calls`, is 1 for every row.

    Elements, weights and FLOPs are in millions. A latency that is a non-negative combination of these terms is the
    sum of its blocks' latencies and one fixed cost of a call. Raises `UserError` for parts that tables do not describe.
    """
    _require_known(table)
    batch, length = workload.batch_size, workload.sequence_length
    layered = {name: term.sum(axis=1) for name, term in _layer_terms(table, batch, length).items()}
    columns = {**layered, **_end_terms(table, batch, length), "calls": np.ones(len(table))}
    return np.stack(list(columns.values()), axis=1), list(columns)


def _mean_over_layers(table: SpecTable, values: Column) -> Column:
    """Mean [n] over the layers a row has; 0 where it has none."""
    mean: Column = (values * table.present).sum(axis=1) / np.maximum(table.present.sum(axis=1), 1)
    return mean


def summaries(table: SpecTable, workload: Workload) -> tuple[Matrix, list[str]]:
    """What a tree may split on [n, f], and the names: widths, depth and workload, none of which need add up."""
    hidden = table.hidden_width[:, None] * table.present
    weights = counts.layer_parameters(hidden, table.qkv_width, table.ffn_width) / MILLION
    columns = {
        "depth": table.present.sum(axis=1),
        "hidden_width": table.hidden_width,
        "embedding_width": table.embedding_width,
        "mean_heads": _mean_over_layers(table, table.heads),
        "mean_qkv_width": _mean_over_layers(table, table.qkv_width),
        "mean_ffn_width": _mean_over_layers(table, table.ffn_width),
        "mean_head_width": _mean_over_layers(table, table.qkv_width / np.maximum(table.heads, 1)),
        "mean_layer_weights": _mean_over_layers(table, weights),
        "all_layer_weights": weights.sum(axis=1),
        SEQUENCE: np.full(len(table), float(workload.sequence_length)),
        BATCH: np.full(len(table), float(workload.batch_size)),
    }
    for index, name in enumerate(ACTIVATIONS):
        columns[f"share_{name}"] = _mean_over_layers(table, (table.activation == index).astype(np.float64))
    return np.stack(list(columns.values()), axis=1), list(columns)


def feature_table(table: SpecTable, workload: Workload) -> tuple[Matrix, list[str]]:
    """`additive_terms` and then `summaries`, [n, f], with their names."""
    terms, term_names = additive_terms(table, workload)
    whole, summary_names = summaries(table, workload)
    return np.hstack([terms, whole]), term_names + summary_names


TERM_COUNT = len(additive_terms(SpecTable.from_blocks([]), Workload())[1])
"""How many leading columns of `feature_table` add up over blocks."""
