"""Which layers share their weights: `sharing[i] = j` says that layer i uses the weights of layer j."""

from collections.abc import Sequence
from typing import Any

from runs.errors import UserError


def checked_sharing(layers: Sequence[object], sharing: Any) -> tuple[int, ...] | None:
    """`sharing` as a tuple, None where it lets every layer keep its own weights; `UserError` for what cannot be."""
    if sharing is None:
        return None
    if not isinstance(sharing, list | tuple) or any(type(owner) is not int for owner in sharing):
        raise UserError("sharing must be a list with the number of a layer for each layer, counted from 0.")
    if len(sharing) != len(layers):
        raise UserError(f"sharing names {len(sharing)} layers for a student of {len(layers)}.")
    for place, owner in enumerate(sharing):
        if not 0 <= owner <= place or sharing[owner] != owner:
            raise UserError(
                f"layer {place} cannot use the weights of layer {owner}: it must be itself, or an earlier layer with "
                "weights of its own."
            )
        if layers[owner] != layers[place]:
            raise UserError(f"layer {place} cannot use the weights of layer {owner}: their sizes differ.")
    return None if list(sharing) == list(range(len(layers))) else tuple(sharing)
