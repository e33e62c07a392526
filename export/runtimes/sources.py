"""What runtimes start from: the exported file as it is, the checkpoint, or a graph made for them alone."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from devices.workload import Workload
from export.form import Form
from export.graph import student_graph
from export.weights import module_weights
from runs.errors import UserError
from runs.registry import Registry
from students.model import StudentPreTrainedModel

MASK = "attention_mask"
ADDED_MASK = "mask"
"""The tensor in our graphs that is added to the scores of attention."""

TRIED_ID = 16
"""pnnx runs a graph on ids below ten of its own choice, whatever the tables."""


@dataclass(frozen=True)
class Given:
    """A checkpoint, its model, the file exported from it, and the shape it is to be run in."""

    checkpoint: Path
    model: StudentPreTrainedModel
    file: Path
    workload: Workload


SOURCES: Registry[Callable[[Given, Path], Path]] = Registry("source")
"""Name → (what is given, folder for what has to be written) → file or folder to convert or open."""


@SOURCES.register("file")
def _file(given: Given, folder: Path) -> Path:
    return given.file


@SOURCES.register("checkpoint")
def _checkpoint(given: Given, folder: Path) -> Path:
    return given.checkpoint


@SOURCES.register("one-text-graph")
def _one_text_graph(given: Given, folder: Path) -> Path:
    """fp32, one text, fixed length, and the mask taken as it is added to scores: float [1, 1, length, length]."""
    length = given.workload.sequence_length
    form = Form(batch_size=1, sequence_length=length)
    model = student_graph(given.model.config.spec_object, module_weights(given.model), form)
    _keep_all_tokens(model.graph)
    _take_added_mask(model.graph, length)
    _lengthen_tables(model.graph)
    _drop_unused(model.graph)
    path = folder / "one-text.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def _take_added_mask(graph: onnx.GraphProto, length: int) -> None:
    """Make the mask that attention adds an input, in the place of the mask of ones and zeros."""
    makers = {name: node for node in graph.node for name in node.output}
    removed: list[onnx.NodeProto] = []
    wanted = [ADDED_MASK]
    while wanted:
        node = makers.get(wanted.pop())
        if node is not None and node not in removed:
            removed.append(node)
            wanted.extend(node.input)
    gone = {name for node in removed for name in node.output} | {MASK}
    for node in removed:
        graph.node.remove(node)
    # What reads the added mask must add it, and nothing else may want the one of ones and zeros.
    added = all(node.op_type == "Add" for node in graph.node if ADDED_MASK in node.input)
    if not added or any(name in gone - {ADDED_MASK} for node in graph.node for name in node.input):
        raise UserError("ncnn cannot run this student: some of its layers use the mask otherwise than attention does.")
    for given in graph.input:
        if given.name == MASK:
            given.CopyFrom(helper.make_tensor_value_info(ADDED_MASK, TensorProto.FLOAT, [1, 1, length, length]))


def _keep_all_tokens(graph: onnx.GraphProto) -> None:
    """Let the last layer make all tokens: its attention for the first alone would need a mask of one row."""
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for node in [node for node in graph.node if node.op_type == "Gather" and node.input[1] in constants]:
        place = numpy_helper.to_array(constants[node.input[1]])
        if place.shape != (1,) or place[0] != 0:
            continue
        graph.node.remove(node)
        for reader in graph.node:
            for number, name in enumerate(reader.input):
                if name == node.output[0]:
                    reader.input[number] = node.input[0]


def _lengthen_tables(graph: onnx.GraphProto) -> None:
    """Give tables that are read by an input's ids rows of zeros, so that the ids pnnx tries are in all of them."""
    inputs = {given.name for given in graph.input}
    read = {node.input[0] for node in graph.node if node.op_type == "Gather" and node.input[1] in inputs}
    for tensor in graph.initializer:
        missing = TRIED_ID - tensor.dims[0] if tensor.name in read else 0
        if missing > 0:
            table = numpy_helper.to_array(tensor)
            tensor.CopyFrom(numpy_helper.from_array(np.pad(table, ((0, missing), (0, 0))), tensor.name))


def _drop_unused(graph: onnx.GraphProto) -> None:
    """Remove weights that no operator reads any more."""
    read = {name for node in graph.node for name in node.input}
    for tensor in [tensor for tensor in graph.initializer if tensor.name not in read]:
        graph.initializer.remove(tensor)
