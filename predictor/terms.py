"""What the latency law knows of a block: terms from the sizes of its operators, summed over them.

Any layer type fits whose operators are known. Elements, weights and FLOPs are in millions.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from types import SimpleNamespace

import numpy as np
import numpy.typing as npt

from devices.workload import Workload
from predictor.sharing import CYCLES_A_BYTE, Column, busiest_units, shared
from students.layer_types import Activation
from students.operators import (
    Activate,
    Attention,
    Depthwise,
    Gather,
    Norm,
    Operator,
    Product,
    layer_operators,
    operators,
)
from students.spec import Block, LayerBlock, TransformerLayer

Matrix = npt.NDArray[np.float64]
Fields = dict[str, Column]
"""The sizes of many operators of one type, by name, each [operators]."""

MILLION = 1e6
REGISTER_CHANNELS = 16
"""Kernels work on channels in groups of a vector register or two; a last, partial group costs as much as a full one."""

REGISTER_ROWS = 12
"""And on rows in groups of as many as the registers hold."""

FLOAT_BYTES = 4

ROUNDING_CYCLES = 2.0
"""Of making one number a small integer, beside reading and writing it."""

LAUNCHED_MFLOPS = (10, 100, 1000)
"""Sizes of products below which an accelerator is busy starting them: what lies beyond takes time of its own."""


def _padding(size: Column, step: int | npt.NDArray[np.int64]) -> Column:
    """What a size lacks to the next multiple of `step`."""
    return -size % step


def _product(o: Fields, threads: int) -> Fields:
    rows, inner, columns = o["rows"], o["inner"], o["columns"]
    weights = inner * columns
    each = np.ceil(rows / threads)
    # Threads that share columns out take whole groups of them, which leaves some idle.
    across = np.where(columns > rows, threads, 1)
    idle, wide_idle = (
        _padding(columns, across * group) - _padding(columns, group)
        for group in (REGISTER_CHANNELS, 2 * REGISTER_CHANNELS)
    )
    mflops = 2 * rows * weights / MILLION
    # Below some size what int8 rounds is rounded by one thread.
    rounding = rows * inner * (ROUNDING_CYCLES + CYCLES_A_BYTE * (FLOAT_BYTES + 1))
    alone = (threads > 1) & ~shared(rounding, threads)
    return {
        "product_mflops": mflops,
        **{f"product_beyond_{size}_mflops": np.maximum(mflops - size, 0.0) for size in LAUNCHED_MFLOPS},
        "product_column_padding_mflops": 2 * rows * inner * _padding(columns, REGISTER_CHANNELS) / MILLION,
        "product_wide_padding_mflops": 2 * rows * inner * _padding(columns, 2 * REGISTER_CHANNELS) / MILLION,
        "product_row_padding_mflops": 2 * _padding(each, REGISTER_ROWS) * weights / MILLION,
        "product_idle_mflops": 2 * rows * inner * idle / MILLION,
        "product_wide_idle_mflops": 2 * rows * inner * wide_idle / MILLION,
        "product_across_mflops": mflops * (across > 1),
        # Apart, since int8 quantizes what goes in and rescales what comes out.
        "product_inputs": rows * inner / MILLION,
        "product_inputs_alone": rows * inner * alone / MILLION,
        "product_outputs": rows * columns / MILLION,
        "product_weights": weights / MILLION,
        # A single row leaves a product of a matrix and a vector, which takes as long as reading the matrix does.
        "product_single_row_weights": weights * (rows == 1) / MILLION,
        "products": np.ones_like(rows),
    }


def _attention(o: Fields, threads: int) -> Fields:
    heads = o["texts"] * o["heads"]
    rows = heads * o["queries"]
    pairs = rows * o["keys"]
    each = o["queries"] * o["keys"]
    # A head is one thread's work: with two threads three heads take as long as four, or longer.
    idle_pairs = _padding(heads, threads) * each
    read = (o["queries"] + o["keys"]) * o["head_width"] + each
    head_cycles = 2 * each * o["head_width"] + CYCLES_A_BYTE * FLOAT_BYTES * read
    dealt_idle_pairs = (busiest_units(heads, head_cycles, threads) * threads - heads) * each
    return {
        "attention_mflops": 4 * pairs * o["head_width"] / MILLION,
        "attention_padding_mflops": 4 * pairs * _padding(o["head_width"], REGISTER_CHANNELS) / MILLION,
        "attention_key_padding_mflops": 2 * rows * _padding(o["keys"], REGISTER_CHANNELS) * o["head_width"] / MILLION,
        "attention_idle_mflops": 4 * idle_pairs * o["head_width"] / MILLION,
        "attention_dealt_idle_mflops": 4 * dealt_idle_pairs * o["head_width"] / MILLION,
        "attention_scores": pairs / MILLION,
        "attention_idle_scores": idle_pairs / MILLION,
        "attention_dealt_idle_scores": dealt_idle_pairs / MILLION,
        "attention_rows": rows / MILLION,
        # Rows of scores that end within a register, which a softmax goes over apart.
        "attention_uneven_rows": rows * (o["keys"] % REGISTER_CHANNELS > 0) / MILLION,
        "attention_elements": heads * (o["queries"] + o["keys"]) * o["head_width"] / MILLION,
        "attention_heads": heads,
        "attentions": np.ones_like(heads),
    }


def _norm(o: Fields, threads: int) -> Fields:
    return {
        "norm_elements": o["rows"] * o["width"] / MILLION,
        "norm_rows": o["rows"] / MILLION,
        "norms": np.ones_like(o["rows"]),
    }


def _activate(o: Fields, threads: int) -> Fields:
    elements = o["rows"] * o["width"] / MILLION
    return {f"{kind}_elements": elements * (o["kind"] == kind) for kind in ("gelu", "relu", "silu")}


def _gather(o: Fields, threads: int) -> Fields:
    return {"gathered_elements": o["rows"] * o["width"] / MILLION, "gathers": np.ones_like(o["rows"])}


def _depthwise(o: Fields, threads: int) -> Fields:
    elements = o["rows"] * o["width"] / MILLION
    return {
        "depthwise_mflops": 2 * elements * o["kernel"],
        "depthwise_elements": elements,
        "depthwises": np.ones_like(elements),
    }


OPERATOR_TERMS: dict[type[Operator], Callable[[Fields, int], Fields]] = {
    Product: _product,
    Attention: _attention,
    Norm: _norm,
    Activate: _activate,
    Gather: _gather,
    Depthwise: _depthwise,
}
"""Operator → what the law knows of it, from its sizes and the number of threads; none is negative."""


def _term_names() -> tuple[str, ...]:
    one = np.ones(1)
    fields = ({name: one for name in kind._fields} for kind in OPERATOR_TERMS)
    parts = zip(OPERATOR_TERMS.values(), fields, strict=True)
    return tuple(name for describe, sizes in parts for name in describe(sizes, 1))


BLOCK_TERMS = _term_names()
"""Names of the terms that add up over blocks, in the order of their columns."""

PLACES = {name: place for place, name in enumerate(BLOCK_TERMS)}

MANY = 1000
"""Layers of one kind that are described at once, as columns of numbers; fewer are faster one by one."""

LAYER_SIZES = ("heads", "qkv_width", "ffn_width")


def block_terms(blocks: Sequence[Block], workload: Workload) -> tuple[Matrix, tuple[str, ...]]:
    """Terms [blocks, f], none negative, that add up over blocks, and their names (`BLOCK_TERMS`)."""
    terms = np.zeros((len(blocks), len(BLOCK_TERMS)))
    rest: Iterable[int] = range(len(blocks))
    if len(blocks) >= MANY:
        rest = _describe_layers(blocks, workload, terms)
    found: dict[type[Operator], tuple[list[int], list[Operator]]] = defaultdict(lambda: ([], []))
    for number in rest:
        for operator in operators(blocks[number], workload.batch_size, workload.sequence_length):
            owners, members = found[type(operator)]
            owners.append(number)
            members.append(operator)
    for kind, (owners, members) in found.items():
        for name, values in OPERATOR_TERMS[kind](_fields(kind, members), workload.threads).items():
            terms[:, PLACES[name]] += np.bincount(owners, weights=values, minlength=len(blocks))
    return terms, BLOCK_TERMS


def _describe_layers(blocks: Sequence[Block], workload: Workload, terms: Matrix) -> list[int]:
    """Fill in the rows of transformer layers of which there are many alike but for their sizes; the other rows' places.

    An operator of all of them is one operator whose sizes are columns. Sums are taken in the order of the operators, as
    for one layer.
    """
    rest: list[int] = []
    alike: dict[tuple[bool, Activation], list[tuple[int, int, TransformerLayer]]] = defaultdict(list)
    for number, block in enumerate(blocks):
        if isinstance(block, LayerBlock) and isinstance(block.layer, TransformerLayer):
            alike[block.first_only, block.layer.activation].append((number, block.hidden_width, block.layer))
        else:
            rest.append(number)
    for (first_only, activation), members in alike.items():
        numbers, widths, layers = zip(*members, strict=True)
        if len(numbers) < MANY:
            rest += numbers
            continue
        sizes = {name: np.array([getattr(layer, name) for layer in layers]) for name in LAYER_SIZES}
        hidden = np.array(widths)
        made = workload.batch_size if first_only else workload.batch_size * workload.sequence_length
        describe = layer_operators.dispatch(TransformerLayer)
        columns = SimpleNamespace(**sizes, activation=activation)
        summed = np.zeros((len(BLOCK_TERMS), len(numbers)))
        for operator in describe(columns, hidden, workload.batch_size, workload.sequence_length, made):
            fields = {name: np.broadcast_to(value, len(numbers)) for name, value in operator._asdict().items()}
            for name, values in OPERATOR_TERMS[type(operator)](_as_floats(fields), workload.threads).items():
                summed[PLACES[name]] += values
        terms[list(numbers)] = summed.T
    return rest


def _fields(kind: type[Operator], members: Sequence[Operator]) -> Fields:
    return _as_floats(dict(zip(kind._fields, map(np.array, zip(*members, strict=True)), strict=True)))


def _as_floats(fields: Fields) -> Fields:
    return {name: values.astype(np.float64) if values.dtype.kind == "i" else values for name, values in fields.items()}
