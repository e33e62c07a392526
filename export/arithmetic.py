"""The one place to ask how weights are held and multiplied: importing it registers every arithmetic there is."""

from export.arithmetics import calibrated, floats, integers, weights_only  # noqa: F401  each registers its own
from export.arithmetics.contract import ARITHMETICS, Arithmetic, Product, Ranges, Rows, choose
from export.arithmetics.rounding import quantize_rows

__all__ = ["ARITHMETICS", "Arithmetic", "Product", "Ranges", "Rows", "choose", "quantize_rows"]
