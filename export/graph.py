"""Whole graphs: a student, or a stack of one block, as an ONNX model with dynamic batch and sequence axes."""

from collections.abc import Mapping
from functools import singledispatch

import onnx

from devices.workload import Precision
from export.arithmetic import ARITHMETICS
from export.blocks import Part, Weights, add_block, additive_mask
from export.builder import FLOAT, INT64, GraphBuilder, Value
from export.items import Stack, copies
from students.spec import Block, EmbeddingBlock, HeadBlock, LayerBlock, StudentSpec

TOKENS = ("batch", "sequence")


def student_graph(
    spec: StudentSpec, weights: Weights, precision: Precision = "fp32", metadata: Mapping[str, str] | None = None
) -> onnx.ModelProto:
    """A student as portable operators of opset 17, the file that any runtime loads.

    Inputs `input_ids`, `attention_mask`, `token_type_ids`, int64 [batch, sequence]; output `logits` [batch, labels], or
    `last_hidden_state` [batch, sequence, hidden] without a head. `weights` are named as in `StudentModel`'s state dict
    plus `head.…`; arrays of another shape than the spec's raise `KeyError` or a failing `onnx.checker`.
    """
    builder = GraphBuilder()
    arithmetic = ARITHMETICS[precision]
    tokens = [Value(name, INT64, TOKENS) for name in ("input_ids", "attention_mask", "token_type_ids")]
    embedding, *rest = spec.blocks()
    hidden = add_block(embedding, Part(builder, arithmetic, weights, "embeddings."), "input_ids", "token_type_ids")
    mask = additive_mask(builder, "attention_mask")
    for index, block in enumerate(block for block in rest if isinstance(block, LayerBlock)):
        hidden = add_block(block, Part(builder, arithmetic, weights, f"layers.{index}."), hidden, mask)
    answer = Value("last_hidden_state", FLOAT, (*TOKENS, spec.hidden_width))
    for head in (block for block in rest if isinstance(block, HeadBlock)):
        hidden = add_block(head, Part(builder, arithmetic, weights, "head."), hidden)
        answer = Value("logits", FLOAT, ("batch", head.labels))
    builder.node("Identity", [hidden], answer.name)
    return builder.model(tokens, [answer], metadata)


def stack_graph(stack: Stack, weights: Weights, precision: Precision = "fp32") -> onnx.ModelProto:
    """A stack alone; its one output is `output`.

    Inputs of layers: `hidden` float [batch, sequence, h] and additive `mask` float [batch, 1, 1, sequence]; of an
    embedding: `input_ids`, `token_type_ids` int64 [batch, sequence]; of a head: `hidden`. `weights` are named as in
    `students.layers`: `layers.0.query.weight` in a stack of layers, `word.weight` in an embedding alone.
    """
    builder = GraphBuilder()
    inputs = stack_inputs(stack.block)
    names = [value.name for value in inputs]
    prefixes = [f"layers.{index}." for index in range(copies(stack))] if isinstance(stack.block, LayerBlock) else [""]
    hidden = names[0]
    for prefix in prefixes:
        hidden = add_block(stack.block, Part(builder, ARITHMETICS[precision], weights, prefix), hidden, *names[1:])
    axes = ("batch",) if isinstance(stack.block, HeadBlock) else TOKENS
    width = stack.block.labels if isinstance(stack.block, HeadBlock) else stack.block.hidden_width
    builder.node("Identity", [hidden], "output")
    return builder.model(inputs, [Value("output", FLOAT, (*axes, width))])


@singledispatch
def stack_inputs(block: Block) -> list[Value]:
    """What a stack of `block` takes."""
    raise TypeError(f"{type(block).__name__} is not a block")


@stack_inputs.register
def _(block: EmbeddingBlock) -> list[Value]:
    return [Value("input_ids", INT64, TOKENS), Value("token_type_ids", INT64, TOKENS)]


@stack_inputs.register
def _(block: LayerBlock) -> list[Value]:
    hidden = Value("hidden", FLOAT, (*TOKENS, block.hidden_width))
    return [hidden, Value("mask", FLOAT, ("batch", 1, 1, "sequence"))]


@stack_inputs.register
def _(block: HeadBlock) -> list[Value]:
    return [Value("hidden", FLOAT, (*TOKENS, block.hidden_width))]
