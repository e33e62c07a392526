"""A graph of a model's matrix products and nothing else: what no export can go below on the same kernels."""

import numpy as np

import export.dialects  # noqa: F401  (fills the registry)
from export.arithmetic import ARITHMETICS
from export.builder import FLOAT, Array, GraphBuilder, Value
from export.part import DIALECTS, Part
from runs.errors import UserError
from students.spec import LayerBlock, StudentSpec, TransformerLayer

ROWS, KEYS, VALUES = "rows", "keys", "values"


def _matrix(rng: np.random.Generator, outputs: int, inputs: int) -> Array:
    # Of such a scale that numbers neither grow nor vanish along the chain; denormal ones would cost time.
    return rng.standard_normal((outputs, inputs), dtype=np.float32) / np.float32(np.sqrt(inputs))


def floor_graph(spec: StudentSpec, sequence_length: int, precision: str, *, attention: bool = True) -> bytes:
    """The products of one text of `sequence_length` tokens, each reading the result of the one before.

    Per layer: queries, keys, values, output, expansion and contraction in `precision`, and where `attention` is asked,
    scores and context in fp32; a last layer that makes the first token alone has keys and values of all tokens and the
    rest of one. In int8 the rounding of each product's input is part of it, since it is part of the kernel. Embeddings
    and head have no products worth counting. Raises `UserError` for layers that are not BERT's, whose products do not
    fit together into a chain.
    """
    dialect = DIALECTS["onnxruntime"]
    builder = GraphBuilder(dialect.opset, dialect.ir_version)
    rng = np.random.default_rng(0)
    width, tokens = spec.hidden_width, sequence_length
    rows = ROWS
    for index, block in enumerate(block for block in spec.blocks() if isinstance(block, LayerBlock)):
        layer = _berts(spec, index)
        part = Part(builder, ARITHMETICS[precision], {}, f"layers.{index}.", dialect)
        for name in ("key", "value"):
            rows = part.product(rows, _matrix(rng, width, width), name)
        if block.first_only:
            tokens = 1
            rows = part.node("Slice", [rows, builder.integers(0), builder.integers(1), builder.integers(0)], "first")
        rows = part.product(rows, _matrix(rng, width, width), "query")
        if attention:
            heads = builder.integers(layer.heads, tokens, width // layer.heads)
            apart = part.node("Reshape", [rows, heads], "heads")
            scores = part.node("MatMul", [apart, KEYS], "scores")
            context = part.node("MatMul", [scores, VALUES], "context")
            rows = part.node("Reshape", [context, builder.integers(-1, width)], "context.rows")
        rows = part.product(rows, _matrix(rng, width, width), "output")
        rows = part.product(rows, _matrix(rng, layer.ffn_width, width), "expand")
        rows = part.product(rows, _matrix(rng, width, layer.ffn_width), "contract")
    builder.node("Identity", [rows], "products")
    shapes = {name: value.shape for name, value in floor_inputs(spec, sequence_length).items()}
    inputs = [Value(name, FLOAT, shape) for name, shape in shapes.items() if attention or name == ROWS]
    model = builder.model(inputs, [Value("products", FLOAT, (tokens, width))])
    return bytes(model.SerializeToString())


def _berts(spec: StudentSpec, index: int) -> TransformerLayer:
    layer = spec.layers[index]
    if not isinstance(layer, TransformerLayer) or layer.qkv_width != spec.hidden_width:
        raise UserError(f"layer {index} is not BERT's: only the products of stock BERT shapes are timed alone.")
    return layer


def floor_inputs(spec: StudentSpec, sequence_length: int) -> dict[str, Array]:
    """What `floor_graph` is fed with; without attention it takes `rows` alone."""
    rng = np.random.default_rng(1)
    heads = _berts(spec, 0).heads
    width = spec.hidden_width // heads
    return {
        ROWS: rng.standard_normal((sequence_length, spec.hidden_width)).astype(np.float32),
        KEYS: np.stack([_matrix(rng, sequence_length, width).T for _ in range(heads)]),
        VALUES: np.stack([_matrix(rng, width, sequence_length).T for _ in range(heads)]),
    }
