"""The one place to ask how weights are held and multiplied: importing it registers every arithmetic there is."""

from export.arithmetics import calibrated, floats, integers, nibbles, weights_only  # noqa: F401  each registers its own
from export.arithmetics.contract import ARITHMETICS, Arithmetic, Product, Ranges, Reach, Rows, Whole, choose
from export.arithmetics.rounding import quantize_rows

__all__ = ["ARITHMETICS", "Arithmetic", "Product", "Ranges", "Reach", "Rows", "Whole", "choose", "quantize_rows"]
