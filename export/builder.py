"""A small builder of ONNX graphs: named nodes, shared constants, weights, and at the end one model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper

from runs.errors import UserError

PROTOBUF_LIMIT_BYTES = 2**31 - 2**20
"""A protobuf message ends at 2 GiB; one MiB is left for nodes and names."""

FLOAT = int(TensorProto.FLOAT)
INT64 = int(TensorProto.INT64)
INT8 = int(TensorProto.INT8)

Array = npt.NDArray[Any]

BIAS_INPUTS = {"MatMulIntegerToFloat": 6, "MatMulNBits": 5}
"""Operators of ONNX Runtime's own that take a bias, and as which input."""


@dataclass(frozen=True)
class Value:
    """A graph's input or output: its name, ONNX element type and shape; a name in the shape is a dynamic axis."""

    name: str
    element: int
    shape: tuple[int | str, ...]

    def proto(self) -> onnx.ValueInfoProto:
        """The ONNX form."""
        return helper.make_tensor_value_info(self.name, self.element, self.shape)


class GraphBuilder:
    """Collects nodes and initializers; every method that adds something returns the name of the tensor it made.

    All is written straight into the model, since `onnx.helper` copies the weights several times over.
    `axes` are batch size and sequence length where the graph is made for these alone.
    """

    def __init__(self, opset: int, ir_version: int, axes: tuple[int | str, int | str] = ("batch", "sequence")) -> None:
        imported = helper.make_opsetid("", opset)
        self._model = onnx.ModelProto(ir_version=ir_version, producer_name="tailorbird", opset_import=[imported])
        self._model.graph.name = "tailorbird"
        self._made: set[str] = set()
        self.axes = axes
        self._weight_bytes = 0

    @property
    def axes_known(self) -> tuple[int, int] | None:
        """Batch size and sequence length, or None where either is dynamic."""
        batch, sequence = self.axes
        return (batch, sequence) if isinstance(batch, int) and isinstance(sequence, int) else None

    def require(self, domain: str, version: int = 1) -> None:
        """Say that operators of another domain than ONNX's own are used."""
        if all(entry.domain != domain for entry in self._model.opset_import):
            self._model.opset_import.append(helper.make_opsetid(domain, version))

    def absorb(self, product: str, addend: str) -> bool:
        """Let a `MatMul` of two matrices add `addend` as well, by making it a `Gemm`; False where it is no `MatMul`.

        `product` must be the tensor made last and its source have two axes; `addend` spreads over the rows.
        """
        last = self._model.graph.node[-1]
        if last.op_type != "MatMul" or last.output[0] != product:
            return False
        last.op_type = "Gemm"
        last.input.append(addend)
        return True

    def absorb_bias(self, product: str, bias: str) -> bool:
        """As `absorb`, for a vector, which the operators of `BIAS_INPUTS` add as well."""
        last = self._model.graph.node[-1]
        if last.op_type not in BIAS_INPUTS or last.output[0] != product:
            return self.absorb(product, bias)
        last.input.extend([""] * (BIAS_INPUTS[last.op_type] - len(last.input)) + [bias])
        return True

    def node(self, operator: str, inputs: Sequence[str], name: str, **attributes: Any) -> str:
        """Add an operator whose one output is called `name`."""
        return self.nodes(operator, inputs, (name,), **attributes)[0]

    def nodes(self, operator: str, inputs: Sequence[str], names: tuple[str, ...], **attributes: Any) -> tuple[str, ...]:
        """Add an operator with several outputs."""
        if not self._made.isdisjoint(names):
            raise ValueError(f"a tensor called {names[0]} is in the graph already")
        self._made.update(names)
        made = helper.make_node(operator, list(inputs), list(names), name=names[0], **attributes)
        self._model.graph.node.append(made)
        return names

    def made(self, name: str) -> bool:
        """Whether an operator's output or an initializer is called `name`."""
        return name in self._made

    def weight(self, name: str, value: Array) -> str:
        """Add an initializer, as it is."""
        self._weight_bytes += value.nbytes
        if self._weight_bytes > PROTOBUF_LIMIT_BYTES:
            raise UserError("this model takes more than the 2 GiB that one ONNX file holds: use a smaller one.")
        if name in self._made:
            raise ValueError(f"a tensor called {name} is in the graph already")
        self._made.add(name)
        tensor = self._model.graph.initializer.add(name=name, dims=value.shape)
        tensor.data_type = helper.np_dtype_to_tensor_dtype(value.dtype)
        tensor.raw_data = value.astype(value.dtype.newbyteorder("<"), copy=False).tobytes()
        return name

    def scalar(self, value: float) -> str:
        """A float constant, one per number in the whole graph."""
        return self._shared(f"scalar:{value!r}", np.array(value, dtype=np.float32))

    def integer(self, value: int) -> str:
        """An int64 constant without axes, one per number in the whole graph."""
        return self._shared(f"integer:{value}", np.array(value, dtype=np.int64))

    def integers(self, *values: int) -> str:
        """An int64 vector constant, one per content in the whole graph."""
        return self._shared("integers:" + ",".join(map(str, values)), np.array(values, dtype=np.int64))

    def weight_integers(self, name: str, values: Sequence[int]) -> str:
        """An int64 vector constant with a name of its own."""
        return self.weight(name, np.array(values, dtype=np.int64))

    def _shared(self, name: str, value: Array) -> str:
        return name if self.made(name) else self.weight(name, value)

    def model(
        self, inputs: Sequence[Value], outputs: Sequence[Value], metadata: Mapping[str, str] | None = None
    ) -> onnx.ModelProto:
        """The finished model with `metadata` as its metadata_props."""
        self._model.graph.input.extend(value.proto() for value in inputs)
        self._model.graph.output.extend(value.proto() for value in outputs)
        helper.set_model_props(self._model, dict(metadata or {}))
        return self._model
