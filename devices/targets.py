"""Importing this module files every target of this room in the registry; a new target is one more line here."""

from devices import cuda, onnx_runtime, open_vino, pytorch

__all__ = ["cuda", "onnx_runtime", "open_vino", "pytorch"]
