"""A part of a supernet: the first channels, heads and neurons of its layers, with or without weights of its own.

It makes sense of a model whose parts stand in the order of their worth and that was trained so that its sub-models
answer too; of any other, `students.slicing` finds out which parts those are.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from runs.errors import UserError
from students.headed import StudentWithHead
from students.layers import TransformerLayerModule
from students.model import StudentPreTrainedModel, build_student, encoder_of
from students.spec import StudentSpec, TransformerLayer, transformer_layers

PROJECTIONS = ("query", "key", "value")


def require_within(spec: StudentSpec, supernet: StudentSpec, layer_map: Sequence[int], of: str) -> None:
    """Raise `UserError` unless a student is part of a supernet, each of its layers of the one that it comes from."""
    theirs = transformer_layers(supernet, "a supernet")
    pairs = [("words", spec.vocabulary_size, supernet.vocabulary_size, True)]
    pairs += [("token types", spec.token_types, supernet.token_types, True)]
    pairs += [("hidden channels", spec.hidden_width, supernet.hidden_width, False)]
    pairs += [("embedding channels", spec.embedding_width, supernet.embedding_width, False)]
    pairs += [("positions", spec.maximum_positions, supernet.maximum_positions, False)]
    for place, (layer, origin) in enumerate(zip(spec.layers, layer_map, strict=True)):
        other = theirs[origin]
        if not isinstance(layer, TransformerLayer):
            raise UserError(f"layer {place} of this student is of type {layer.type}, and {of} has transformers alone.")
        for what, mine, whole in (
            ("heads", layer.heads, other.heads),
            ("channels a head", layer.qkv_width // layer.heads, other.qkv_width // other.heads),
            ("neurons", layer.ffn_width, other.ffn_width),
        ):
            pairs.append((f"{what} in layer {place}", mine, whole, False))
    for what, mine, whole, exactly in pairs:
        if mine > whole or (exactly and mine != whole):
            raise UserError(f"this student has {mine:,} {what} and {of} {whole:,}: it is no part of that supernet.")
    factorised = [one.embedding_width != one.hidden_width for one in (spec, supernet)]
    if factorised[0] != factorised[1] or spec.sharing != supernet.sharing:
        raise UserError(f"this student and {of} differ in how words become hidden states, or in shared layers.")


def leading_part(
    supernet: StudentPreTrainedModel, spec: StudentSpec, layer_map: Sequence[int]
) -> StudentPreTrainedModel:
    """A student of `spec` that is the leading part of `supernet`; its layer i is that of layer `layer_map[i]`.

    Activations are its own, and its attention divides by the root of its own head width. A head of another kind, or a
    classifier of other labels, stays random. Raises `UserError` for a student that is no part of it (`require_within`).
    """
    require_within(spec, supernet.config.spec_object, layer_map, "the supernet")
    student = build_student(spec)
    with torch.no_grad():
        for module, name, weight in leading_weights(student, supernet, layer_map):
            getattr(module, name).copy_(weight)
    return student


def shared_part(
    supernet: StudentPreTrainedModel, spec: StudentSpec, layer_map: Sequence[int]
) -> StudentPreTrainedModel:
    """The same part without weights of its own: it computes with the supernet's, which its gradients reach.

    For as long as the supernet's weights are not replaced by others; `state_dict()` and `parameters()` are of no use.
    Raises `UserError` as `leading_part` does, and for a head that is not the supernet's.
    """
    theirs = supernet.config.spec_object
    require_within(spec, theirs, layer_map, "the supernet")
    if spec.head != theirs.head or spec.sharing is not None:
        raise UserError("a part that shares a supernet's weights has its head, and no layers that share their own.")
    with torch.device("meta"):
        student = build_student(spec)
    for module, name, weight in list(leading_weights(student, supernet, layer_map)):
        # What `torch.func.functional_call` does for the length of a call: a plain tensor where a parameter was.
        module._parameters[name] = weight  # type: ignore[assignment]
    student.train(supernet.training)
    return student


Weights = Iterator[tuple[nn.Module, str, Tensor]]
"""Module of a student, name of its parameter, and what the supernet has for it."""


def leading_weights(
    student: StudentPreTrainedModel, supernet: StudentPreTrainedModel, layer_map: Sequence[int]
) -> Weights:
    """For each of a student's parameters the supernet's leading part of it, which is no copy where it can be none."""
    target, source = encoder_of(student), encoder_of(supernet)
    yield from _matching(target.embeddings, source.embeddings)
    for place, origin in enumerate(layer_map):
        mine, whole = target.layers[place], source.layers[origin]
        assert isinstance(mine, TransformerLayerModule) and isinstance(whole, TransformerLayerModule)
        yield from _layer(mine, whole)
    same = student.config.spec_object.head == supernet.config.spec_object.head
    if same and isinstance(student, StudentWithHead) and isinstance(supernet, StudentWithHead):
        yield from _matching(student.head, supernet.head)


def _leading(whole: Tensor, like: Tensor) -> Tensor:
    return whole[tuple(slice(size) for size in like.shape)]


def _matching(target: nn.Module, source: nn.Module) -> Weights:
    for place, module in target.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            yield module, name, _leading(source.get_submodule(place).get_parameter(name), parameter)


def _layer(target: TransformerLayerModule, source: TransformerLayerModule) -> Weights:
    mine, theirs = (target.heads, target.head_width), (source.heads, source.head_width)
    for name, module in target.named_children():
        if name not in (*PROJECTIONS, "output"):
            yield from _matching(module, source.get_submodule(name))
    # Of each head the first channels, which are not the first of all.
    for name in PROJECTIONS:
        ours, whole = (model.get_submodule(name) for model in (target, source))
        assert isinstance(ours, nn.Linear) and isinstance(whole, nn.Linear)
        yield ours, "weight", _leading(whole.weight.unflatten(0, theirs), ours.weight.unflatten(0, mine)).flatten(0, 1)
        yield ours, "bias", _leading(whole.bias.unflatten(0, theirs), ours.bias.unflatten(0, mine)).flatten()
    like = target.output.weight.unflatten(1, mine)
    yield target.output, "weight", _leading(source.output.weight.unflatten(1, theirs), like).flatten(1, 2)
    yield target.output, "bias", _leading(source.output.bias, target.output.bias)
