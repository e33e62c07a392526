"""The registry of runtimes with every one of them filed; a new one is one more line here."""

from export.runtimes import as_targets, lite_rt, mnn, ncnn_pnnx
from export.runtimes.contract import RUNTIMES

__all__ = ["RUNTIMES", "as_targets", "lite_rt", "mnn", "ncnn_pnnx"]
