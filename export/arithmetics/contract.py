"""What an arithmetic is: the ways in which a graph reads a large weight, and the registry of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from export.builder import Array, GraphBuilder
from runs.errors import UserError
from runs.registry import Registry

Ranges = Mapping[str, tuple[float, float]]
"""Name of a product → smallest and largest number its source has, as `export.calibration` finds them."""

Product = Callable[[GraphBuilder, str, Array, str], str]
"""(builder, source [..., in], weight [out, in], name) → [..., out] without a bias."""

Rows = Callable[[GraphBuilder, str, Array, str], str]
"""(builder, ids [...], table [rows, width], name) → [..., width]; reads the named rows before it widens them."""


@dataclass(frozen=True)
class Arithmetic:
    """How a graph multiplies by a large weight and how it reads rows of a table; both give float tensors."""

    product: Product
    rows: Rows
    special: Mapping[str, Product] = field(default_factory=dict)
    """Dialect → the product in operators that only this dialect may use, where that is faster."""
    calibrated: Callable[[Ranges], "Arithmetic"] | None = None
    """Makes the arithmetic for known ranges; None where none are needed, and where they are known already."""


ARITHMETICS: Registry[Arithmetic] = Registry("precision")


def choose(
    precision: str, dialect: str = "portable", embeddings: str | None = None, ranges: Ranges | None = None
) -> Arithmetic:
    """The arithmetic of a dialect: products as `precision` has them, tables as `embeddings` (None: as `precision`).

    Raises `UserError` for an unknown name, and for a precision that needs `ranges` where there are none.
    """
    made = ARITHMETICS[precision]
    rows = ARITHMETICS[embeddings or precision].rows
    if made.calibrated:
        if ranges is None:
            raise UserError(f"{precision} rounds by ranges found on texts: give texts to calibrate on.")
        made = made.calibrated(ranges)
    return replace(made, product=made.special.get(dialect, made.product), rows=rows)
