"""From an item to what a target can open: the one path that the profiler, the search and the verifier all take."""

from collections.abc import Callable
from functools import partial, singledispatch
from typing import Any

import numpy as np
import onnx
import torch
from torch import nn

from devices.target import Artifact, ArtifactKind, DescriptionArtifact, OnnxArtifact, TorchArtifact
from devices.workload import Precision, Workload
from export.builder import Array
from export.form import Form
from export.generation import graph_feed
from export.graph import stack_graph, student_graph
from export.graph_file import graph_inputs, read_graph_file
from export.items import Checkpoint, GraphFile, Item, Stack, item_key, item_to_json
from export.module_precision import in_precision
from export.weights import USUAL_RANGES, item_weights, module_weights, random_module
from runs.errors import UserError
from runs.registry import Registry
from students.spec import (
    Block,
    EmbeddingBlock,
    HeadBlock,
    LanguageHeadBlock,
    LayerBlock,
    StudentSpec,
    TokenHeadBlock,
)

LOWERING_VERSION = 3
"""Goes up whenever a change here or in the graphs may change a latency; profiles of another version do not count."""


def lower(item: Item, kind: ArtifactKind, workload: Workload, seed: int = 0) -> Artifact:
    """Make the item into an artifact of a kind; random weights and inputs come from `seed`.

    Whole models are fed random ids, a mask of ones and token types of zero, causal ones with a cache of the workload's
    earlier tokens; stacks of layers random hidden states.
    Raises `UserError` for an item that has no such form: an ONNX file as a module, a graph in a precision that its kind
    lacks, a text longer than the model's positions, an unreadable checkpoint or file.
    """
    return LOWERINGS[kind](item, workload, seed)


LOWERINGS: Registry[Callable[[Item, Workload, int], Artifact]] = Registry("artifact kind")


@LOWERINGS.register("description")
def _described(item: Item, workload: Workload, seed: int) -> DescriptionArtifact:
    return DescriptionArtifact(item_key(item), item_to_json(item))


@LOWERINGS.register("torch")
def _module_artifact(item: Item, workload: Workload, seed: int) -> TorchArtifact:
    if workload.earlier_tokens:
        # Its cache would grow with every run.
        raise runs_no_cache("this target")
    module = load_module(item, seed)
    inputs = [torch.from_numpy(value) for value in example_inputs(item, module, workload, seed).values()]
    return TorchArtifact(item_key(item), *in_precision(module, inputs, workload.precision))


def runs_no_cache(what: str) -> UserError:
    """The error for tokens in the cache of a model that PyTorch runs."""
    return UserError(
        f"--earlier-tokens is for ONNX files, and {what} runs checkpoints: use --target onnxruntime or openvino."
    )


def _graph_artifact(kind: ArtifactKind, item: Item, workload: Workload, seed: int) -> OnnxArtifact:
    if isinstance(item, GraphFile):
        return OnnxArtifact(item_key(item), item.path, graph_inputs(read_graph_file(item.path), workload, seed))
    form = graph_form(kind, workload)
    if not isinstance(item, Checkpoint):
        return OnnxArtifact(item_key(item), graph_bytes(item, form, seed), graph_arrays(item, None, workload, seed))
    module = load_module(item, seed)
    data = _written(student_graph(spec_of(item, module), module_weights(module), form, ranges=USUAL_RANGES))
    return OnnxArtifact(item_key(item), data, graph_arrays(item, module, workload, seed))


GRAPH_FORMS: dict[ArtifactKind, dict[Precision, Form]] = {
    # What runs portable graphs computes rounded products by integers only where their ranges are known beforehand, and
    # rounds to bf16 by itself.
    "onnx": {"fp32": Form("portable"), "bf16": Form("portable"), "int8": Form("portable", "int8-static")},
    "onnx-fused": {"fp32": Form("onnxruntime"), "int8": Form("onnxruntime", "int8")},
}
"""Artifact kinds that are graphs → precision of the workload → the form in which a student is shipped for it."""


def graph_form(kind: ArtifactKind, workload: Workload) -> Form:
    """How a kind of graph is written for a workload: all of the workload that a graph, its inputs apart, depends on.

    Raises `UserError` for a precision that the kind has no form for.
    """
    forms = GRAPH_FORMS[kind]
    if workload.precision not in forms:
        raise UserError(f"there are no {kind} graphs in {workload.precision}: use --precision {' or '.join(forms)}.")
    return forms[workload.precision]


def graph_bytes(item: Stack | StudentSpec, form: Form, seed: int = 0) -> bytes:
    """The item with random weights as a graph in a form; ranges of what is rounded are usual ones."""
    weights = item_weights(item, seed)
    if isinstance(item, Stack):
        return _written(stack_graph(item, weights, form, ranges=USUAL_RANGES))
    return _written(student_graph(item, weights, form, ranges=USUAL_RANGES))


def _written(graph: onnx.ModelProto) -> bytes:
    data: bytes = graph.SerializeToString()
    return data


def graph_arrays(item: Item, module: nn.Module | None, workload: Workload, seed: int = 0) -> dict[str, Array]:
    """What the item's graph is fed with; only a checkpoint has to be loaded as `module` for that."""
    inputs = example_inputs(item, module, workload, seed)
    return inputs if isinstance(item, Stack) else graph_feed(spec_of(item, module), inputs, workload.earlier_tokens)


for _kind in GRAPH_FORMS:
    LOWERINGS.register(_kind)(partial(_graph_artifact, _kind))


@singledispatch
def load_module(item: Item, seed: int = 0) -> nn.Module:
    """The item as a PyTorch module in eval mode; random weights from `seed` where it has none of its own."""
    raise TypeError(f"{type(item).__name__} is not an item")


@load_module.register
def _(item: Stack, seed: int = 0) -> nn.Module:
    return random_module(item, seed)


@load_module.register
def _(item: StudentSpec, seed: int = 0) -> nn.Module:
    return random_module(item, seed)


@load_module.register
def _(item: Checkpoint, seed: int = 0) -> nn.Module:
    # As in `export.weights`: what needs no model of `transformers` does not wait for it.
    from students.bert import load_model

    return load_model(item.folder)


@load_module.register
def _(item: GraphFile, seed: int = 0) -> nn.Module:
    raise UserError(f"{item.path} is an ONNX file, which PyTorch does not run: use --target onnxruntime.")


def spec_of(item: Item, module: nn.Module | None) -> StudentSpec:
    """The spec of a whole model, from the item itself or from the loaded checkpoint."""
    if isinstance(item, StudentSpec):
        return item
    assert module is not None
    config: Any = module.config
    spec = config.spec_object
    assert isinstance(spec, StudentSpec)
    return spec


def example_inputs(item: Item, module: nn.Module | None, workload: Workload, seed: int = 0) -> dict[str, Array]:
    """Arrays by input name, in the order in which the module takes them."""
    rng = np.random.default_rng(seed)
    if isinstance(item, Stack):
        return block_inputs(item.block, workload, rng)
    embedding = spec_of(item, module).blocks()[0]
    tokens = block_inputs(embedding, workload, rng)
    ones = np.ones((workload.batch_size, workload.sequence_length), dtype=np.int64)
    return {"input_ids": tokens["input_ids"], "attention_mask": ones, "token_type_ids": tokens["token_type_ids"]}


@singledispatch
def block_inputs(block: Block, workload: Workload, rng: np.random.Generator) -> dict[str, Any]:
    """What a block alone is fed with."""
    raise TypeError(f"{type(block).__name__} is not a block")


@block_inputs.register
def _(block: EmbeddingBlock, workload: Workload, rng: np.random.Generator) -> dict[str, Array]:
    shape = (workload.batch_size, workload.sequence_length)
    if workload.sequence_length + workload.earlier_tokens > block.maximum_positions:
        after = f" after --earlier-tokens {workload.earlier_tokens}" if workload.earlier_tokens else ""
        raise UserError(
            f"--sequence-length is {workload.sequence_length}{after}, but this model has {block.maximum_positions} "
            "positions."
        )
    ids = rng.integers(0, block.vocabulary_size, shape)
    return {"input_ids": ids, "token_type_ids": np.zeros(shape, dtype=np.int64)}


@block_inputs.register
def _(block: LayerBlock, workload: Workload, rng: np.random.Generator) -> dict[str, Array]:
    mask = np.zeros((workload.batch_size, 1, 1, workload.sequence_length), dtype=np.float32)
    return {"hidden": _states(block.hidden_width, workload, rng), "mask": mask}


@block_inputs.register
def _(block: HeadBlock | TokenHeadBlock, workload: Workload, rng: np.random.Generator) -> dict[str, Array]:
    return {"hidden": _states(block.hidden_width, workload, rng)}


@block_inputs.register
def _(block: LanguageHeadBlock, workload: Workload, rng: np.random.Generator) -> dict[str, Array]:
    raise UserError("a language model's head reads the word embedding: it is lowered and timed in a whole model only.")


def _states(width: int, workload: Workload, rng: np.random.Generator) -> Array:
    return rng.standard_normal((workload.batch_size, workload.sequence_length, width)).astype(np.float32)
