"""What a supernet holds: at each of its places a layer of every type, and which of them a part's layers lie in."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, cast

from runs.errors import UserError
from students.spec import Layer, StudentSpec

SIZES = {
    "heads": "heads",
    "qkv_width": "channels a head",
    "bottleneck_width": "inner channels",
    "ffn_width": "neurons",
    "count": "feed-forwards",
    "ffn_count": "feed-forwards",
    "kernel": "tokens in the kernel",
}
"""All numbers of layers of any type, and what a part may have fewer of."""


def sizes(layer: Layer) -> Mapping[str, int]:
    """What of a layer a part may have less of, by the name of the number; queries count in channels a head."""
    numbers = {field.name: getattr(layer, field.name) for field in fields(layer)}
    found = {name: value for name, value in numbers.items() if isinstance(value, int)}
    if "qkv_width" in found:
        found["qkv_width"] //= found["heads"]
    return found


def enveloping(layers: Sequence[Layer]) -> Layer:
    """The smallest layer of which all of these, of one type, are parts; its activation is the first's."""
    every = [sizes(layer) for layer in layers]
    largest = {name: max(one[name] for one in every) for name in every[0]}
    if "qkv_width" in largest:
        largest["qkv_width"] *= largest["heads"]
    grown: Layer = replace(cast(Any, layers[0]), **largest)
    return grown


def types_held(supernet: StudentSpec, of: str = "the supernet") -> tuple[str, ...]:
    """The types of layer at each place of a supernet, in their order; `UserError` where places differ."""
    types = tuple(dict.fromkeys(layer.type for layer in supernet.layers))
    if [layer.type for layer in supernet.layers] != list(types) * (len(supernet.layers) // len(types)):
        raise UserError(f"{of} is no supernet: it has not the same types of layer at every place.")
    return types


def places_of(supernet: StudentSpec, of: str = "the supernet") -> int:
    """How many layers its deepest parts have."""
    return len(supernet.layers) // len(types_held(supernet, of))


def layers_of_part(
    spec: StudentSpec, supernet: StudentSpec, places: Sequence[int], of: str = "the supernet"
) -> tuple[int, ...]:
    """The supernet's layer that each layer of a part lies in, `places[i]` being the place of layer i.

    Layers that share their weights lie in that of the first of them. Raises `UserError` for a type that is not held.
    """
    types, found = types_held(supernet, of), []
    for number, (layer, owner) in enumerate(zip(spec.layers, spec.owners, strict=True)):
        if layer.type not in types:
            have = f"{types[0]}s alone" if len(types) == 1 else f"layers of type {', '.join(types)} alone"
            raise UserError(f"layer {number} of this student is of type {layer.type}, and {of} has {have}.")
        found.append(places[owner] * len(types) + types.index(layer.type))
    return tuple(found)


def depth_map(layers: int, places: int) -> tuple[int, ...]:
    """The supernet's place that each layer of a part comes from: evenly apart, and the last from the last."""
    return tuple(max((layer + 1) * places // layers - 1, 0) for layer in range(layers))


def of_one_type(supernet: StudentSpec, number: int) -> StudentSpec:
    """The part that has the `number`-th type at every place, with all that the supernet has of it."""
    return replace(supernet, layers=supernet.layers[number :: len(types_held(supernet))])
