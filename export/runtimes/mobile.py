"""How much of a graph phones' accelerators would take, by ONNX Runtime's own mobile usability check.

It judges by operator types and shapes and runs nothing: what it counts as taken may still fall back on a device. Its
lists cover NNAPI and Core ML; for XNNPACK, which it leaves out, see `_xnnpack`.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import onnx
from onnx import TensorProto
from onnxruntime.tools.mobile_helpers import usability_checker
from onnxruntime.tools.onnx_model_utils import ModelProtoWithShapeInfo, is_fixed_size_tensor, optimize_model

from devices.onnx_runtime import load_errors
from export.graph_file import read_graph_file
from runs.errors import UserError
from runs.registry import Registry

COREML_OPERATORS = "coreml_supported_mlprogram_ops.md"
"""The checker's list for the current kind of Core ML model; the older kind takes fewer operators."""


@dataclass(frozen=True)
class Usability:
    """One execution provider on one graph."""

    provider: str
    operators: int
    taken: int
    falling_back: dict[str, int]
    """Operator type → how many of it fall back to the processor."""
    partitions: int | None = None
    """Groups of operators that it takes, between which the processor works; None where it takes them one by one."""

    @property
    def fallback_share(self) -> float:
        """Share of the operators that fall back to the processor, 0–1."""
        return 1 - self.taken / self.operators

    def to_json(self) -> dict[str, Any]:
        """Plain numbers and names."""
        return {**asdict(self), "fallback_share": self.fallback_share}


Judge = Callable[[str, onnx.ModelProto], Usability]

PROVIDERS: Registry[Judge] = Registry("mobile provider")
"""Provider → (its name, a graph with the shapes of its tensors) → how much of the graph it takes."""


def mobile_usability(file: Path) -> list[Usability]:
    """Every provider on a graph after ONNX Runtime's basic optimisations.

    NNAPI takes no dynamic shapes: a graph that has some is judged as if they were fixed. Raises `UserError` for a file
    that ONNX Runtime cannot load.
    """
    read_graph_file(file)
    with TemporaryDirectory(prefix="tailorbird-mobile-") as folder:
        optimised = Path(folder) / "optimised.onnx"
        try:
            optimize_model(file, optimised)
        except load_errors() as problem:
            reason = (str(problem).splitlines() or [type(problem).__name__])[0]
            raise UserError(f"ONNX Runtime cannot load {file}: {reason}") from problem
        shaped = ModelProtoWithShapeInfo(optimised).model_with_shape_info
    return [PROVIDERS[name](name, shaped) for name in PROVIDERS]


def _checked(check: Callable[[onnx.ModelProto, bool], Any]) -> Judge:
    """A judge from one of the checker's own functions."""

    def judge(provider: str, model: onnx.ModelProto) -> Usability:
        found = check(model, all(is_fixed_size_tensor(given) for given in model.graph.input))
        # Protobuf hands out a new object at each look, so nodes are known by what they make.
        taken = {node.output[0] for group in found.supported_groups for node in group}
        falling = Counter(node.op_type for node in model.graph.node if node.output[0] not in taken)
        return Usability(provider, found.num_nodes, found.num_supported_nodes, dict(falling), found.num_partitions)

    return judge


def _core_ml(model: onnx.ModelProto, fixed: bool) -> Any:
    return usability_checker.check_coreml_partitions(model, fixed, COREML_OPERATORS)


def _xnnpack(provider: str, model: onnx.ModelProto) -> Usability:
    """By the conditions in the provider's sources (core/providers/xnnpack) of ONNX Runtime.

    Of what our graphs hold it takes products of floats with constant weights (the other factor of two or three axes)
    and softmax over the last axis; other operators of its list work on images.
    """
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    known = [*model.graph.input, *model.graph.value_info]
    types = {value.name: value.type.tensor_type for value in known}

    def takes(node: onnx.NodeProto) -> bool:
        source = types.get(node.input[0]) if node.input else None
        if node.op_type not in XNNPACK_OPERATORS or source is None or source.elem_type != TensorProto.FLOAT:
            return False
        constants_missing = any(name not in weights for name in node.input[1:])
        return not constants_missing and len(source.shape.dim) in XNNPACK_OPERATORS[node.op_type]

    falling = Counter(node.op_type for node in model.graph.node if not takes(node))
    operators = len(model.graph.node)
    return Usability(provider, operators, operators - falling.total(), dict(falling))


XNNPACK_OPERATORS = {"MatMul": (2, 3), "Gemm": (2,), "Softmax": (1, 2, 3, 4)}
"""Operator → how many axes its first input may have."""

PROVIDERS.register("nnapi")(_checked(usability_checker.check_nnapi_partitions))
PROVIDERS.register("coreml")(_checked(_core_ml))
PROVIDERS.register("xnnpack")(_xnnpack)
