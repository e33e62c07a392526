"""The tokenizer inside the graph: texts in, token ids out, and with a classifier behind it labels and scores."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import onnx
from onnx import TensorProto

from export.builder import INT64, GraphBuilder, Value
from export.tokenizer_ids import FRAME, IDS, PREFIX, TEXTS, add_ids, add_strings
from export.tokenizer_rules import text_rules
from runs.errors import UserError

LABELS, SCORES = "label", "scores"

OPSET, IR_VERSION = 17, 8
"""Of a graph of the tokenizer alone; before a model it is written in the model's own."""


def ids_graph(tokenizer: Path, maximum_length: int) -> onnx.ModelProto:
    """A graph of the tokenizer in a folder alone.

    Input `texts`, strings [batch]; outputs `input_ids`, `attention_mask` and `token_type_ids`, int64 [batch, longest],
    padded to the longest text and cut at `maximum_length` tokens. `UserError` as in `text_graph`.
    """
    builder = GraphBuilder(OPSET, IR_VERSION)
    add_ids(builder, text_rules(tokenizer), _checked_length(maximum_length), padded=None)
    for given, made in IDS.items():
        builder.node("Identity", [made], given)
    texts = Value(TEXTS, int(TensorProto.STRING), ("batch",))
    return builder.model([texts], [Value(name, INT64, ("batch", "sequence")) for name in IDS])


def text_graph(tokenizer: Path, model: onnx.ModelProto, labels: Sequence[str], maximum_length: int) -> onnx.ModelProto:
    """A copy of a classifier's graph with the tokenizer in a folder before it and `labels` behind it.

    Input `texts`, strings [batch]; outputs `label`, strings [batch], and `scores`, float [batch, labels], which add up
    to 1. Texts are cut at `maximum_length` tokens; a model with fixed axes keeps them, and texts are padded to its
    length. It runs where onnxruntime-extensions is registered. Raises `UserError` for a tokenizer unlike BERT's and for
    a model that does not take token ids or does not answer `logits` for as many classes as there are labels.
    """
    batch, sequence = _axes(model)
    _check_answer(model, len(labels))
    padded = sequence if isinstance(sequence, int) else None
    opset = next(entry.version for entry in model.opset_import if not entry.domain)
    builder = GraphBuilder(opset, model.ir_version)
    add_ids(builder, text_rules(tokenizer), _checked_length(min(maximum_length, padded or maximum_length)), padded)
    front = builder.model([Value(TEXTS, int(TensorProto.STRING), (batch,))], [])
    back = GraphBuilder(opset, model.ir_version)
    back.node("Softmax", ["logits"], SCORES, axis=-1)
    best = back.node("ArgMax", ["logits"], PREFIX + "best", axis=-1, keepdims=0)
    back.node("Gather", [add_strings(back, PREFIX + "labels", labels), best], LABELS)
    scores = Value(SCORES, int(TensorProto.FLOAT), (batch, len(labels)))
    return _joined(front, model, back.model([], [Value(LABELS, int(TensorProto.STRING), (batch,)), scores]))


def _joined(front: onnx.ModelProto, model: onnx.ModelProto, back: onnx.ModelProto) -> onnx.ModelProto:
    """One model that takes what `front` takes and gives what `back` gives."""
    whole = onnx.ModelProto()
    whole.CopyFrom(model)
    for part in ("node", "input", "output"):
        whole.graph.ClearField(part)
    _append(whole, front, {value.name: PREFIX + value.name for value in front.graph.initializer})
    _append(whole, model, IDS)
    _append(whole, back, {value.name: PREFIX + value.name for value in back.graph.initializer})
    for value in (*front.graph.initializer, *back.graph.initializer):
        # The model may have constants of the same names.
        whole.graph.initializer.add().CopyFrom(value)
        whole.graph.initializer[-1].name = PREFIX + value.name
    domains = {entry.domain for entry in whole.opset_import}
    whole.opset_import.extend(entry for entry in front.opset_import if entry.domain not in domains)
    whole.graph.input.extend(front.graph.input)
    whole.graph.output.extend(back.graph.output)
    return whole


def _append(whole: onnx.ModelProto, part: onnx.ModelProto, names: Mapping[str, str]) -> None:
    """Add a part's nodes, whose inputs are called otherwise by now."""
    for node in part.graph.node:
        added = whole.graph.node.add()
        added.CopyFrom(node)
        added.input[:] = [names.get(name, name) for name in node.input]


def _axes(model: onnx.ModelProto) -> tuple[int | str, int | str]:
    """Batch and sequence of a model's `input_ids`; `UserError` where it takes anything else but what we make."""
    inputs = {value.name: value for value in model.graph.input}
    strange = sorted(set(inputs) - set(IDS))
    if "input_ids" not in inputs or strange:
        raise UserError(
            f"this model takes {', '.join(strange or inputs)}, which no tokenizer gives: a graph with the tokenizer "
            "inside is for models over token ids."
        )
    batch, sequence = inputs["input_ids"].type.tensor_type.shape.dim
    return batch.dim_value or "batch", sequence.dim_value or "sequence"


def _check_answer(model: onnx.ModelProto, labels: int) -> None:
    """Raise `UserError` unless the model scores as many classes as there are labels, and several."""
    shapes = {value.name: value.type.tensor_type.shape.dim for value in model.graph.output}
    shape = shapes.get("logits", ())
    if len(shape) != 2:
        raise UserError(
            f"this model answers {', '.join(shapes)}, not one row of scores a text: only a classifier's graph can have "
            "the tokenizer inside."
        )
    if labels < 2 or shape[1].dim_value != labels:
        raise UserError(
            f"there are {labels} labels for a model of {shape[1].dim_value} scores: give one name a class, and two "
            "classes at least."
        )


def _checked_length(length: int) -> int:
    if length <= FRAME:
        raise UserError(f"texts of at most {length} tokens leave no room for a text: use more.")
    return length
