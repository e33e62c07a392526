"""ONNX files read as strangers' work: checked before use, and fed by what their inputs are called."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import checker, helper

from devices.workload import Workload
from export.builder import Array
from runs.errors import UserError
from students.spec import StudentSpec

SPEC_KEY = "tailorbird.spec"
"""The metadata entry in which our files carry their student's spec as JSON."""

PAST = "past."
CACHE_AXES = 4
"""Keys and values of earlier tokens are inputs of this name and with so many axes."""

FEW_IDS = 2
"""Ids below this are in any vocabulary; used where a file does not show the size of its own."""


@dataclass(frozen=True)
class GraphInput:
    """An input as the file declares it."""

    name: str
    dtype: np.dtype[np.generic]
    shape: tuple[int | str, ...]
    """Numbers are fixed, names (perhaps empty) are dynamic."""
    rows: int
    """Ids from 0 to below this are safe to feed."""


@dataclass(frozen=True)
class GraphInfo:
    """What a file says about itself."""

    path: Path
    inputs: tuple[GraphInput, ...]
    outputs: tuple[str, ...]
    metadata: dict[str, str]

    @property
    def spec(self) -> StudentSpec | None:
        """The student it was made from, if it is one of our files."""
        return StudentSpec.from_json(json.loads(self.metadata[SPEC_KEY])) if SPEC_KEY in self.metadata else None


def read_graph_file(path: Path) -> GraphInfo:
    """Read and check an ONNX file; raises `UserError` for what is missing, no ONNX, cut short or points elsewhere."""
    if not path.is_file():
        raise UserError(f"the file {path} does not exist.")
    model = onnx.ModelProto()
    try:
        model.ParseFromString(path.read_bytes())
    except DecodeError:
        raise UserError(f"{path} is not an ONNX file, or was cut short: export it again.") from None
    if not model.graph.node:
        raise UserError(f"{path} is not an ONNX file: it holds no graph.")
    _check_external_data(model, path)
    try:
        checker.check_model(str(path))
    except checker.ValidationError as problem:
        reason = str(problem).strip().splitlines()[0]
        raise UserError(f"{path} is not a valid ONNX model: {reason}") from None
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = tuple(_input(value, model) for value in model.graph.input if value.name not in weights)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    return GraphInfo(path, inputs, tuple(value.name for value in model.graph.output), metadata)


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """Every tensor of a graph and of the graphs inside its operators."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            yield from attribute.tensors
            if attribute.HasField("t"):
                yield attribute.t
            for inner in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])):
                yield from _tensors(inner)


def _check_external_data(model: onnx.ModelProto, path: Path) -> None:
    folder = path.resolve().parent
    for tensor in _tensors(model.graph):
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            continue
        place = {entry.key: entry.value for entry in tensor.external_data}
        target = (folder / place.get("location", "")).resolve()
        if not target.is_relative_to(folder):
            raise UserError(f"{path} keeps weights outside its own folder ({target}): only files beside it are read.")
        if not target.is_file():
            raise UserError(f"{path} keeps weights in {target.name}, which is not beside it: copy that file as well.")
        needed = int(place.get("offset", 0)) + int(place.get("length", 0))
        if needed > target.stat().st_size:
            raise UserError(f"{target}, which holds weights of {path.name}, was cut short: copy it again.")


def _input(value: onnx.ValueInfoProto, model: onnx.ModelProto) -> GraphInput:
    tensor = value.type.tensor_type
    shape = tuple(axis.dim_value if axis.HasField("dim_value") else axis.dim_param for axis in tensor.shape.dim)
    dtype = np.dtype(helper.tensor_dtype_to_np_dtype(tensor.elem_type))
    return GraphInput(value.name, dtype, shape, _rows(value.name, model.graph))


def _rows(name: str, graph: onnx.GraphProto) -> int:
    """Rows of the smallest table that is read with the input `name` as ids, also through casts."""
    names = {name}
    for node in graph.node:
        if node.op_type == "Cast" and node.input[0] in names:
            names.add(node.output[0])
    tables = {node.input[0] for node in graph.node if node.op_type == "Gather" and node.input[1] in names}
    return min((tensor.dims[0] for tensor in graph.initializer if tensor.name in tables), default=FEW_IDS)


def axis_sizes(info: GraphInfo, given: GraphInput, workload: Workload) -> tuple[int, ...]:
    """The input's shape under a workload: the first axis is the batch, the second the sequence."""
    wanted = (workload.batch_size, workload.sequence_length)
    if len(given.shape) != len(wanted):
        raise UserError(f"input {given.name} of {info.path} has {len(given.shape)} axes: [batch, sequence] is needed.")
    flags = ("--batch-size", "--sequence-length")
    for axis, size, flag in zip(given.shape, wanted, flags, strict=True):
        if isinstance(axis, int) and axis != size:
            raise UserError(f"{info.path} is made for {flag} {axis}, and {size} was asked: use {flag} {axis}.")
    return wanted


def no_cache(what: str) -> UserError:
    """The error for earlier tokens of a model that has nowhere to keep them."""
    return UserError(
        f"--earlier-tokens asks for tokens in a cache, and {what} keeps none: only causal language models do."
    )


Filler = Callable[[GraphInput, tuple[int, ...], np.random.Generator], Array]


def _ones(given: GraphInput, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    return np.ones(shape)


def _zeros(given: GraphInput, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    return np.zeros(shape)


def _places(given: GraphInput, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    return np.broadcast_to(np.arange(shape[-1]), shape)


def _random_ids(given: GraphInput, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    return rng.integers(0, given.rows, shape)


FILLERS: tuple[tuple[str, Filler], ...] = (
    ("mask", _ones),
    ("token_type", _zeros),
    ("segment", _zeros),
    ("position", _places),
    ("", _random_ids),
)
"""Part of an input's name → what it is fed with; the first that fits."""


def _past(given: GraphInput, info: GraphInfo, workload: Workload) -> Array:
    """A cache of a workload's earlier tokens, [batch, heads, tokens, head width]; what they were hardly matters."""
    batch, heads, _, width = given.shape
    if not isinstance(heads, int) or not isinstance(width, int):
        raise UserError(f"the cache {given.name} of {info.path} does not say its heads and their width.")
    shape = (batch if isinstance(batch, int) else workload.batch_size, heads, workload.earlier_tokens, width)
    return np.zeros(shape, dtype=given.dtype)


def graph_inputs(info: GraphInfo, workload: Workload, seed: int = 0) -> dict[str, Array]:
    """Arrays of [batch, sequence] for every input: random ids, full masks; `UserError` for inputs of other kinds.

    The cache of a causal graph holds the workload's earlier tokens, which its mask covers as well; `UserError` for such
    tokens and a graph without a cache.
    """
    rng = np.random.default_rng(seed)
    if workload.earlier_tokens and not any(given.name.startswith(PAST) for given in info.inputs):
        raise no_cache(str(info.path))
    filled: dict[str, Array] = {}
    for given in info.inputs:
        if given.name.startswith(PAST) and len(given.shape) == CACHE_AXES:
            filled[given.name] = _past(given, info, workload)
            continue
        fill = next(filler for part, filler in FILLERS if part in given.name)
        if fill is _random_ids and given.dtype.kind not in "iu":
            raise UserError(f"input {given.name} of {info.path} takes {given.dtype}: only models over ids are run.")
        batch, length = axis_sizes(info, given, workload)
        shape = (batch, length + workload.earlier_tokens * (fill is _ones))
        filled[given.name] = fill(given, shape, rng).astype(given.dtype)
    return filled
