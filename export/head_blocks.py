"""The lowering of heads over every token, and what each kind of head calls its answers."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper

from export.blocks import add_block, exactly
from export.builder import FLOAT, Value
from export.form import Form
from export.part import Part
from runs.registry import Registry
from students.spec import HeadKind, LanguageHeadBlock, StudentSpec, TokenHeadBlock

WORDS = "embeddings.word.weight"
DECODER = "head.decoder.weight"


@add_block.register
def _(block: TokenHeadBlock, part: Part, hidden: str) -> str:
    exact = exactly(part)
    product = exact.product(hidden, exact.array("classifier.weight"), "classifier")
    return exact.add_bias(product, exact.array("classifier.bias"), "classifier")


@add_block.register
def _(block: LanguageHeadBlock, part: Part, hidden: str) -> str:
    stream = part.as_stream(hidden, block.hidden_width, "stream")
    active = part.dialect.gelu(part, part.linear(stream, "transform"), "activation")
    logits = part.affine(part.norm(active, "norm"), part.weights[WORDS], part.array("bias"), "decoder")
    return part.as_tokens(logits, "words")


def tie(model: onnx.ModelProto) -> None:
    """Read the decoder's weight from the word embedding's where both hold the same numbers, one transposed.

    Runtimes turn the table round once, at load. Precisions that store products and tables in different forms (4 bits)
    keep both.
    """
    graph = model.graph
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    if WORDS not in tensors or DECODER not in tensors:
        return
    words, decoder = tensors[WORDS], tensors[DECODER]
    if words.data_type != decoder.data_type or list(words.dims) != list(reversed(decoder.dims)):
        return
    kind = helper.tensor_dtype_to_np_dtype(words.data_type)
    table, turned = (np.frombuffer(one.raw_data, dtype=kind).reshape(one.dims) for one in (words, decoder))
    if not np.array_equal(table.T, turned):
        return
    graph.initializer.remove(decoder)
    graph.node.insert(0, helper.make_node("Transpose", [WORDS], [DECODER], name=DECODER, perm=(1, 0)))


@dataclass(frozen=True)
class Ending:
    """The end of a student's graph: what the head made, for which student, in which form."""

    part: Part
    made: str
    spec: StudentSpec
    form: Form

    def output(self, name: str, *shape: int | str) -> Value:
        """What the head made as an output of the graph."""
        self.part.builder.node("Identity", [self.made], name)
        return Value(name, FLOAT, shape)


ANSWERS: Registry[Callable[[Ending], list[Value]]] = Registry("head")
"""Head kind → the outputs that its answer is given as."""


def _hidden_states(ending: Ending) -> list[Value]:
    return [ending.output("last_hidden_state", *ending.form.axes, ending.spec.hidden_width)]


def _labels(ending: Ending) -> list[Value]:
    return [ending.output("logits", ending.form.axes[0], ending.spec.head.labels)]


def _token_labels(ending: Ending) -> list[Value]:
    return [ending.output("logits", *ending.form.axes, ending.spec.head.labels)]


def _spans(ending: Ending) -> list[Value]:
    builder, values = ending.part.builder, []
    for place, name in enumerate(("start_logits", "end_logits")):
        builder.node("Gather", [ending.made, builder.integer(place)], name, axis=-1)
        values.append(Value(name, FLOAT, ending.form.axes))
    return values


def _words(ending: Ending) -> list[Value]:
    return [ending.output("logits", *ending.form.axes, ending.spec.vocabulary_size)]


_ANSWERS: dict[HeadKind, Callable[[Ending], list[Value]]] = {
    "none": _hidden_states,
    "classification": _labels,
    "regression": _labels,
    "tokens": _token_labels,
    "spans": _spans,
    "masked-lm": _words,
    "causal-lm": _words,
}
for _kind, _answer in _ANSWERS.items():
    ANSWERS.register(_kind)(_answer)
