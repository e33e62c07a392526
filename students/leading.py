"""A part of a supernet: the first channels, heads and neurons of its layers, with or without weights of its own.

Of a convolution it has the middle of the kernel, of several feed-forwards the first, and of the layers of several types
at one place that of its own.

It makes sense of a model whose parts stand in the order of their worth and that was trained so that its sub-models
answer too; of any other, `students.slicing` finds out which parts those are.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from runs.errors import UserError
from students.headed import StudentWithHead
from students.layer_bottleneck import BottleneckLayerModule
from students.layers import TransformerLayerModule
from students.model import StudentPreTrainedModel, build_student, encoder_of
from students.spec import StudentSpec
from students.supernet import SIZES, layers_of_part, sizes

PROJECTIONS = ("query", "key", "value")

Attending = TransformerLayerModule | BottleneckLayerModule
ATTENDING = (TransformerLayerModule, BottleneckLayerModule)
"""The modules with heads, whose projections `PROJECTIONS` and `output` are."""


def require_within(spec: StudentSpec, supernet: StudentSpec, places: Sequence[int], of: str) -> None:
    """Raise `UserError` unless a student is part of a supernet, each of its layers of the place that it comes from."""
    origins = layers_of_part(spec, supernet, places, of)
    pairs = [("words", spec.vocabulary_size, supernet.vocabulary_size, True)]
    pairs += [("token types", spec.token_types, supernet.token_types, True)]
    pairs += [("hidden channels", spec.hidden_width, supernet.hidden_width, False)]
    pairs += [("embedding channels", spec.embedding_width, supernet.embedding_width, False)]
    pairs += [("positions", spec.maximum_positions, supernet.maximum_positions, False)]
    for number, (layer, origin) in enumerate(zip(spec.layers, origins, strict=True)):
        whole = sizes(supernet.layers[origin])
        pairs += [(f"{SIZES[name]} in layer {number}", mine, whole[name], False) for name, mine in sizes(layer).items()]
    for what, mine, there, exactly in pairs:
        if mine > there or (exactly and mine != there):
            raise UserError(f"this student has {mine:,} {what} and {of} {there:,}: it is no part of that supernet.")
    factorised = [one.embedding_width != one.hidden_width for one in (spec, supernet)]
    if factorised[0] != factorised[1]:
        raise UserError(f"this student and {of} differ in how words become hidden states.")


def leading_part(supernet: StudentPreTrainedModel, spec: StudentSpec, places: Sequence[int]) -> StudentPreTrainedModel:
    """A student of `spec` that is the leading part of `supernet`; its layer i comes from place `places[i]` of it.

    Activations are its own, and its attention divides by the root of its own head width. A head of another kind, or a
    classifier of other labels, stays random. Raises `UserError` for a student that is no part of it (`require_within`).
    """
    require_within(spec, supernet.config.spec_object, places, "the supernet")
    student = build_student(spec)
    with torch.no_grad():
        for module, name, weight in leading_weights(student, supernet, places):
            getattr(module, name).copy_(weight)
    return student


def shared_part(supernet: StudentPreTrainedModel, spec: StudentSpec, places: Sequence[int]) -> StudentPreTrainedModel:
    """The same part without weights of its own: it computes with the supernet's, which its gradients reach.

    For as long as the supernet's weights are not replaced by others; `state_dict()` and `parameters()` are of no use.
    Raises `UserError` as `leading_part` does, and for a head that is not the supernet's.
    """
    theirs = supernet.config.spec_object
    require_within(spec, theirs, places, "the supernet")
    if spec.head != theirs.head:
        raise UserError("a part that shares a supernet's weights has its head.")
    with torch.device("meta"):
        student = build_student(spec)
    for module, name, weight in list(leading_weights(student, supernet, places)):
        # What `torch.func.functional_call` does for the length of a call: a plain tensor where a parameter was.
        module._parameters[name] = weight  # type: ignore[assignment]
    student.train(supernet.training)
    return student


Weights = Iterator[tuple[nn.Module, str, Tensor]]
"""Module of a student, name of its parameter, and what the supernet has for it."""


def leading_weights(
    student: StudentPreTrainedModel, supernet: StudentPreTrainedModel, places: Sequence[int]
) -> Weights:
    """For each of a student's parameters the supernet's leading part of it, which is no copy where it can be none."""
    target, source = encoder_of(student), encoder_of(supernet)
    yield from _matching(target.embeddings, source.embeddings)
    specs = student.config.spec_object, supernet.config.spec_object
    for number, origin in enumerate(layers_of_part(*specs, places)):
        yield from _layer(target.layers[number], source.layers[origin])
    same = specs[0].head == specs[1].head
    if same and isinstance(student, StudentWithHead) and isinstance(supernet, StudentWithHead):
        yield from _matching(student.head, supernet.head)


def _leading(whole: Tensor, like: Tensor) -> Tensor:
    return whole[tuple(slice(size) for size in like.shape)]


def _middle(whole: Tensor, like: Tensor) -> Tensor:
    """Of the first channels the middle of the kernel: a token's nearest neighbours."""
    before = (whole.shape[-1] - like.shape[-1]) // 2
    return whole[: like.shape[0], : like.shape[1], before : before + like.shape[-1]]


def _matching(target: nn.Module, source: nn.Module) -> Weights:
    for place, module in target.named_modules():
        part = _middle if isinstance(module, nn.Conv1d) else _leading
        for name, parameter in module.named_parameters(recurse=False):
            yield module, name, part(source.get_submodule(place).get_parameter(name), parameter)


def _layer(target: nn.Module, source: nn.Module) -> Weights:
    special: tuple[str, ...] = ()
    if isinstance(target, ATTENDING):
        assert isinstance(source, ATTENDING)
        special = (*PROJECTIONS, "output")
        yield from _heads(target, source)
    for name, module in target.named_children():
        if name not in special:
            yield from _matching(module, source.get_submodule(name))


@torch.no_grad()
def lead_with_heads(layer: Attending, first: Sequence[int]) -> None:
    """Put these heads of a supernet's layer before its others, in place; what the whole of it computes stays."""
    order = torch.tensor([*first, *(head for head in range(layer.heads) if head not in first)])
    order = order.to(layer.query.weight.device)
    apart = (layer.heads, layer.head_width)
    for name in PROJECTIONS:
        projection = layer.get_submodule(name)
        assert isinstance(projection, nn.Linear)
        for weight in (projection.weight, projection.bias):
            weight.copy_(weight.unflatten(0, apart)[order].flatten(0, 1))
    layer.output.weight.copy_(layer.output.weight.unflatten(1, apart)[:, order].flatten(1, 2))


def _heads(target: Attending, source: Attending) -> Weights:
    """Of each head the first channels, which are not the first of all."""
    mine, theirs = (target.heads, target.head_width), (source.heads, source.head_width)
    for name in PROJECTIONS:
        ours, whole = (model.get_submodule(name) for model in (target, source))
        assert isinstance(ours, nn.Linear) and isinstance(whole, nn.Linear)
        yield ours, "weight", _leading(whole.weight.unflatten(0, theirs), ours.weight.unflatten(0, mine)).flatten(0, 1)
        yield ours, "bias", _leading(whole.bias.unflatten(0, theirs), ours.bias.unflatten(0, mine)).flatten()
    like = target.output.weight.unflatten(1, mine)
    yield target.output, "weight", _leading(source.output.weight.unflatten(1, theirs), like).flatten(1, 2)
    yield target.output, "bias", _leading(source.output.bias, target.output.bias)
