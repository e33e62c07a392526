"""What an arithmetic is: the ways in which a graph reads a large weight, and the registry of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from export.builder import Array, GraphBuilder
from runs.errors import UserError
from runs.registry import Registry

MICROSOFT = "com.microsoft"
"""The domain of ONNX Runtime's own operators."""


@dataclass(frozen=True)
class Reach:
    """How far the numbers go that a product multiplies by its weight."""

    low: float
    high: float
    """The range to round in, once `divisors` are divided out."""
    divisors: tuple[float, ...] | None = None
    """What each channel is divided by before it is rounded; None where no channel reaches much farther than others."""


Ranges = Mapping[str, Reach]
"""Name of a product → what `export.calibration` found."""

Product = Callable[[GraphBuilder, str, Array, str], str]
"""(builder, source [..., in], weight [out, in], name) → [..., out] without a bias."""

Rows = Callable[[GraphBuilder, str, Array, str], str]
"""(builder, ids [...], table [rows, width], name) → [..., width]; reads the named rows before it widens them."""


Whole = Callable[[GraphBuilder, Array, str], str]
"""(builder, table [rows, width], name) → [rows, width], by arithmetic on constants that runtimes do once, at load."""


@dataclass(frozen=True)
class Arithmetic:
    """How a graph multiplies by weights and reads tables; all of these give float tensors."""

    product: Product
    """For large weights, where most of the time goes."""
    small_product: Product
    """For a head's, which take no time: stored small, multiplied in fp32."""
    rows: Rows
    """For a table of which few rows are read."""
    whole: Whole
    """For a table that is read in one piece."""
    special: Mapping[str, Product] = field(default_factory=dict)
    """Dialect → the product in operators that only this dialect may use, where that is faster."""
    calibrated: Callable[[Ranges], Mapping[str, Product]] | None = None
    """Makes the products for known ranges, `product` under `portable`; None where no ranges are needed."""
    improved: Callable[[Ranges], Product] | None = None
    """Makes a better `product` where ranges happen to be known."""


ARITHMETICS: Registry[Arithmetic] = Registry("precision")


def choose(
    precision: str, dialect: str = "portable", embeddings: str | None = None, ranges: Ranges | None = None
) -> Arithmetic:
    """The arithmetic of a dialect: products as `precision` has them, tables as `embeddings` (None: as `precision`).

    Raises `UserError` for an unknown name, and for a precision that needs `ranges` where there are none.
    """
    made, tables = ARITHMETICS[precision], ARITHMETICS[embeddings or precision]
    products = {**made.special}
    if made.improved and ranges is not None:
        products["portable"] = made.improved(ranges)
    if made.calibrated:
        if ranges is None:
            raise UserError(f"{precision} rounds by ranges found on texts: give texts to calibrate on.")
        products.update(made.calibrated(ranges))
    product = products.get(dialect, products.get("portable", made.product))
    return replace(made, product=product, rows=tables.rows, whole=tables.whole)
