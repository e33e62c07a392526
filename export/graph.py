"""Whole graphs: a student, or a stack of one block, as an ONNX model in any form."""

from collections.abc import Mapping
from dataclasses import replace
from functools import singledispatch

import onnx

import export.dialects
import export.layer_bottleneck
import export.layer_convolution
import export.layer_feed_forward  # noqa: F401  these register dialects and layer types
from export.arithmetic import Ranges, choose
from export.beginning import begin_both_ways
from export.blocks import add_block
from export.builder import FLOAT, INT64, GraphBuilder, Value
from export.causal import begin_causal
from export.form import Form
from export.head_blocks import ANSWERS, Ending, tie
from export.items import Stack, copies
from export.part import DIALECTS, Part, Weights
from export.sharing import store_once
from runs.errors import UserError
from students.spec import (
    Block,
    EmbeddingBlock,
    HeadBlock,
    LanguageHeadBlock,
    LayerBlock,
    StudentSpec,
    TokenHeadBlock,
)

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

    Inputs `input_ids`, `attention_mask`, `token_type_ids`, int64 [batch, sequence]; outputs are the head kind's in
    `ANSWERS`: `logits` [batch, labels] of a classifier, `last_hidden_state` [batch, sequence, hidden] without a head. A
    causal graph takes and gives a cache as well (`export.causal`). `weights` are named as in `StudentModel`'s state
    dict plus `head.…`; arrays of another shape than the spec's raise `KeyError` or a failing `onnx.checker`. `ranges`
    are those of `export.calibration`, for the precisions that need them.
    """
    begin = begin_causal if spec.head.kind == "causal-lm" else begin_both_ways
    begun = begin(start(form, weights, ranges), spec, form)
    part, rest = begun.part, spec.blocks()[1:]
    hidden = part.dialect.enter(part.builder, begun.embedded, spec.hidden_width)
    for index, block in enumerate(block for block in rest if isinstance(block, LayerBlock)):
        hidden = add_block(block, replace(part, prefix=f"layers.{index}."), hidden, begun.mask)
    ended = part.narrowed() if spec.first_only else part
    hidden = part.dialect.as_tokens(ended, hidden, "hidden")
    for head in (block for block in rest if not isinstance(block, LayerBlock)):
        hidden = add_block(head, replace(part, prefix="head."), hidden)
    outputs = ANSWERS[spec.head.kind](Ending(part, hidden, spec, form))
    model = part.builder.model([*begun.inputs, *begun.cache.inputs], [*outputs, *begun.cache.outputs], metadata)
    tie(model)
    if spec.sharing is not None:
        store_once(model)
    return model


def stack_graph(
    stack: Stack, weights: Weights, form: Form = PORTABLE, *, ranges: Ranges | None = None
) -> onnx.ModelProto:
    """A stack alone; its one output is `output`, all else as in `student_graph`.

    Inputs of layers: `hidden` float [batch, sequence, h] and additive `mask` float [batch, 1, 1, sequence]; of an
    embedding: `input_ids`, `token_type_ids` int64 [batch, sequence]; of a head: `hidden`. `weights` are named as in
    `students.layers`: `layers.0.query.weight` in a stack of layers, `word.weight` in an embedding alone.
    """
    part = start(form, weights, ranges)
    builder, dialect = part.builder, part.dialect
    inputs = stack_inputs(stack.block, form)
    hidden, *others = [value.name for value in inputs]
    if isinstance(stack.block, LayerBlock):
        hidden = dialect.enter(builder, hidden, stack.block.hidden_width)
        for index in range(copies(stack)):
            hidden = add_block(stack.block, replace(part, prefix=f"layers.{index}."), hidden, *others)
        hidden = dialect.as_tokens(part.narrowed() if stack.block.first_only else part, hidden, "tokens")
    else:
        hidden = add_block(stack.block, part, hidden, *others)
    axes = stack_axes(stack.block, form)
    width = stack.block.labels if isinstance(stack.block, HeadBlock | TokenHeadBlock) else stack.block.hidden_width
    builder.node("Identity", [hidden], "output")
    return builder.model(inputs, [Value("output", FLOAT, (*axes, width))])


def stack_axes(block: Block, form: Form) -> tuple[int | str, ...]:
    """The axes of what a stack of `block` gives, its width apart."""
    if isinstance(block, LayerBlock) and block.first_only:
        return (form.axes[0], 1)
    return form.axes[:1] if isinstance(block, HeadBlock) else form.axes


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
def _(block: HeadBlock | TokenHeadBlock, form: Form) -> list[Value]:
    return [Value("hidden", FLOAT, (*form.axes, block.hidden_width))]


@stack_inputs.register
def _(block: LanguageHeadBlock, form: Form) -> list[Value]:
    raise UserError(
        "a language model's head reads the word embedding, so it is lowered and timed in a whole model only."
    )
