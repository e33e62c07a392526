"""Whole graphs: a student, or a stack of one block, as an ONNX model in any form."""

from collections.abc import Mapping
from dataclasses import replace
from functools import singledispatch

import onnx

import export.dialects  # noqa: F401  registers the dialects
from export.arithmetic import Ranges, choose
from export.blocks import add_block
from export.builder import FLOAT, INT64, GraphBuilder, Value
from export.form import Form
from export.items import Stack, copies
from export.part import DIALECTS, Part, Weights, additive_mask
from students.spec import Block, EmbeddingBlock, HeadBlock, LayerBlock, StudentSpec

PORTABLE = Form()


def start(form: Form, weights: Weights, ranges: Ranges | None = None) -> Part:
    """A new graph in a form, as the part that has no prefix yet; `UserError` for names that no registry knows."""
    dialect = DIALECTS[form.dialect]
    builder = GraphBuilder(dialect.opset, dialect.ir_version, form.axes)
    return Part(builder, choose(form.precision, form.dialect, form.embeddings, ranges), weights, "", dialect)


def student_graph(
    spec: StudentSpec,
    weights: Weights,
    form: Form = PORTABLE,
    metadata: Mapping[str, str] | None = None,
    *,
    ranges: Ranges | None = None,
) -> onnx.ModelProto:
    """A student as one graph.

    Inputs `input_ids`, `attention_mask`, `token_type_ids`, int64 [batch, sequence]; output `logits` [batch, labels], or
    `last_hidden_state` [batch, sequence, hidden] without a head. `weights` are named as in `StudentModel`'s state dict
    plus `head.…`; arrays of another shape than the spec's raise `KeyError` or a failing `onnx.checker`. `ranges` are
    those of `export.calibration`, for the precisions that need them.
    """
    part = start(form, weights, ranges)
    builder, dialect = part.builder, part.dialect
    tokens = [Value(name, INT64, form.axes) for name in ("input_ids", "attention_mask", "token_type_ids")]
    embedding, *rest = spec.blocks()
    embedded = add_block(embedding, replace(part, prefix="embeddings."), "input_ids", "token_type_ids")
    mask = additive_mask(builder, "attention_mask")
    hidden = dialect.enter(builder, embedded, spec.hidden_width)
    for index, block in enumerate(block for block in rest if isinstance(block, LayerBlock)):
        hidden = add_block(block, replace(part, prefix=f"layers.{index}."), hidden, mask)
    hidden = dialect.as_tokens(part, hidden, "hidden")
    answer = Value("last_hidden_state", FLOAT, (*form.axes, spec.hidden_width))
    for head in (block for block in rest if isinstance(block, HeadBlock)):
        hidden = add_block(head, replace(part, prefix="head."), hidden)
        answer = Value("logits", FLOAT, (form.axes[0], head.labels))
    builder.node("Identity", [hidden], answer.name)
    return builder.model(tokens, [answer], metadata)


def stack_graph(stack: Stack, weights: Weights, form: Form = PORTABLE) -> onnx.ModelProto:
    """A stack alone; its one output is `output`.

    Inputs of layers: `hidden` float [batch, sequence, h] and additive `mask` float [batch, 1, 1, sequence]; of an
    embedding: `input_ids`, `token_type_ids` int64 [batch, sequence]; of a head: `hidden`. `weights` are named as in
    `students.layers`: `layers.0.query.weight` in a stack of layers, `word.weight` in an embedding alone.
    """
    part = start(form, weights)
    builder, dialect = part.builder, part.dialect
    inputs = stack_inputs(stack.block, form)
    hidden, *others = [value.name for value in inputs]
    if isinstance(stack.block, LayerBlock):
        hidden = dialect.enter(builder, hidden, stack.block.hidden_width)
        for index in range(copies(stack)):
            hidden = add_block(stack.block, replace(part, prefix=f"layers.{index}."), hidden, *others)
        hidden = dialect.as_tokens(part, hidden, "tokens")
    else:
        hidden = add_block(stack.block, part, hidden, *others)
    axes = form.axes[:1] if isinstance(stack.block, HeadBlock) else form.axes
    width = stack.block.labels if isinstance(stack.block, HeadBlock) else stack.block.hidden_width
    builder.node("Identity", [hidden], "output")
    return builder.model(inputs, [Value("output", FLOAT, (*axes, width))])


@singledispatch
def stack_inputs(block: Block, form: Form) -> list[Value]:
    """What a stack of `block` takes."""
    raise TypeError(f"{type(block).__name__} is not a block")


@stack_inputs.register
def _(block: EmbeddingBlock, form: Form) -> list[Value]:
    return [Value("input_ids", INT64, form.axes), Value("token_type_ids", INT64, form.axes)]


@stack_inputs.register
def _(block: LayerBlock, form: Form) -> list[Value]:
    hidden = Value("hidden", FLOAT, (*form.axes, block.hidden_width))
    return [hidden, Value("mask", FLOAT, (form.axes[0], 1, 1, form.axes[1]))]


@stack_inputs.register
def _(block: HeadBlock, form: Form) -> list[Value]:
    return [Value("hidden", FLOAT, (*form.axes, block.hidden_width))]
