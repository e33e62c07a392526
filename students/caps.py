"""How far a space reaches at each place: what a supernet that grows has found its layers to need."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from students.space_file import Choices
from students.supernet import depth_map

Table = tuple[tuple[int, ...], ...]
"""[place][type]: numbers of a layer of each of a space's types, at each place of its deepest members."""


@dataclass(frozen=True)
class Caps:
    """The number of heads that layers have, and of neurons that they have at most, by where they come from.

    The layers of a member less deep come from places evenly apart (`students.supernet.depth_map`). Heads are nothing
    to layers without attention.
    """

    heads: Table
    ffn: Table

    def to_json(self) -> dict[str, Any]:
        """As `caps_from_json` reads it."""
        return asdict(self)


def caps_from_json(data: Mapping[str, Any]) -> Caps:
    """The caps that `Caps.to_json` wrote."""
    return Caps(*(tuple(tuple(row) for row in data[name]) for name in ("heads", "ffn")))


def cap_genes(caps: Caps, choices: Choices) -> npt.NDArray[np.int64]:
    """Gene of the heads, and greatest one of the neurons, [layers, slots, types, 2]; beyond the depth 0."""
    heads, ffn = np.array(choices.heads), np.array(choices.ffn)
    places = max(choices.layers)
    found = np.zeros((len(choices.layers), places, len(choices.types), 2), dtype=np.int64)
    for gene, depth in enumerate(choices.layers):
        for slot, place in enumerate(depth_map(depth, places)):
            found[gene, slot, :, 0] = np.searchsorted(heads, caps.heads[place])
            found[gene, slot, :, 1] = np.searchsorted(ffn, caps.ffn[place])
    return found


def capped_bodies(genes: npt.NDArray[np.int64], choices: Choices, pairs: npt.NDArray[np.int64]) -> int:
    """How many stacks of layers there are within `cap_genes`, with so many kinds of attention by number of heads."""
    attends = np.array([form.attends for form in choices.types])
    total = 0
    for gene, depth in enumerate(choices.layers):
        every = (genes[gene, ..., 1] + 1) * np.where(attends, pairs[genes[gene, ..., 0]], 1)
        for sharing in choices.sharing:
            if sharing <= depth:
                owners = range(0, depth, sharing)
                counts = [int(every[slot].sum()) for slot in owners]
                if choices.attention_last:
                    counts[-1] = int(every[owners[-1], attends].sum())
                total += prod(counts)
    return total
