"""Shared layers in torch: each is a module of its own, whose weights are those of the layer that it shares with."""

from collections.abc import Sequence

from torch import nn


def tied_names(layers: nn.ModuleList, owners: Sequence[int]) -> dict[str, str]:
    """Weight of a sharing layer → the owner's weight that it is, under the names below `layers`' parent.

    Modules stay apart, so that hooks tell one layer from the other; `transformers` saves each such weight once.
    """
    return {
        f"layers.{place}.{name}": f"layers.{owner}.{name}"
        for place, owner in enumerate(owners)
        if owner != place
        for name, _ in layers[owner].named_parameters()
    }
