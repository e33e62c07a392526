"""Which cells are measured together: an item's own, and as many items as may be open at once."""

from collections.abc import Iterator, Mapping, Sequence
from functools import singledispatch

from devices.measurement import Cell
from devices.stopwatch import Policy
from export.items import Checkpoint, GraphFile, Item, Stack, checkpoint_files, copies
from students.spec import StudentSpec

BYTES_PER_WEIGHT = 4

SESSION_COPIES = 2
"""A runtime keeps weights as it was given them, and once more as its products want them."""


@singledispatch
def weight_bytes(item: Item) -> int:
    """About how large the item's weights are."""
    raise TypeError(f"{type(item).__name__} is not an item")


@weight_bytes.register
def _(item: Stack) -> int:
    return item.block.parameters() * copies(item) * BYTES_PER_WEIGHT


@weight_bytes.register
def _(item: StudentSpec) -> int:
    return item.parameters() * BYTES_PER_WEIGHT


@weight_bytes.register
def _(item: Checkpoint) -> int:
    return sum(file.stat().st_size for file in checkpoint_files(item.folder))


@weight_bytes.register
def _(item: GraphFile) -> int:
    return item.path.stat().st_size if item.path.is_file() else 0


def batches(items: Mapping[str, Item], cells: Sequence[Cell], policy: Policy) -> Iterator[tuple[Cell, ...]]:
    """The cells, those of an item together, in the order in which their items come first.

    A batch holds what the policy's number and memory allow, and never less than one cell.
    """
    groups: dict[str, list[Cell]] = {}
    for cell in dict.fromkeys(cells):
        groups.setdefault(cell.key, []).append(cell)
    batch: list[Cell] = []
    held = 0.0
    for key, group in groups.items():
        for start in range(0, len(group), policy.held_open):
            part = group[start : start + policy.held_open]
            needed = len(part) * SESSION_COPIES * weight_bytes(items[key])
            if batch and (len(batch) + len(part) > policy.held_open or held + needed > policy.held_gib * 2**30):
                yield tuple(batch)
                batch, held = [], 0.0
            batch += part
            held += needed
    if batch:
        yield tuple(batch)
