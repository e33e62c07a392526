"""The sub-model of a supernet: the first channels, heads and neurons of each layer, as they are.

It makes sense of a model whose parts stand in the order of their worth and that was trained so that its sub-models
answer too; of any other, `students.slicing` finds out which parts those are.
"""

from collections.abc import Sequence

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
        if not isinstance(layer, TransformerLayer) or layer.activation != other.activation:
            raise UserError(f"layer {place} of this student is of another kind than layer {origin} of {of}.")
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

    Its attention divides by the root of its own head width. A head of another kind, or a classifier of other labels,
    stays random. Raises `UserError` for a student that is no part of it (`require_within`).
    """
    theirs = supernet.config.spec_object
    require_within(spec, theirs, layer_map, "the supernet")
    student = build_student(spec)
    target, source = encoder_of(student), encoder_of(supernet)
    with torch.no_grad():
        _copy(target.embeddings, source.embeddings)
        for place, origin in enumerate(layer_map):
            mine, whole = target.layers[place], source.layers[origin]
            assert isinstance(mine, TransformerLayerModule) and isinstance(whole, TransformerLayerModule)
            _copy_layer(mine, whole)
        if isinstance(student, StudentWithHead) and isinstance(supernet, StudentWithHead) and spec.head == theirs.head:
            _copy(student.head, supernet.head)
    return student


def _leading(whole: Tensor, like: Tensor) -> Tensor:
    return whole[tuple(slice(size) for size in like.shape)]


def _copy(target: nn.Module, source: nn.Module) -> None:
    for name, parameter in target.named_parameters():
        parameter.copy_(_leading(source.get_parameter(name), parameter))


def _copy_layer(target: TransformerLayerModule, source: TransformerLayerModule) -> None:
    mine, theirs = (target.heads, target.head_width), (source.heads, source.head_width)
    for name, module in target.named_children():
        if name not in (*PROJECTIONS, "output"):
            _copy(module, source.get_submodule(name))
    # Of each head the first channels, which are not the first of all.
    for name in PROJECTIONS:
        ours, whole = (model.get_submodule(name) for model in (target, source))
        assert isinstance(ours, nn.Linear) and isinstance(whole, nn.Linear)
        ours.weight.copy_(_leading(whole.weight.unflatten(0, theirs), ours.weight.unflatten(0, mine)).flatten(0, 1))
        ours.bias.copy_(_leading(whole.bias.unflatten(0, theirs), ours.bias.unflatten(0, mine)).flatten())
    weight = target.output.weight
    weight.copy_(_leading(source.output.weight.unflatten(1, theirs), weight.unflatten(1, mine)).flatten(1, 2))
    target.output.bias.copy_(_leading(source.output.bias, target.output.bias))
