"""Checkpoints that cannot be read: which errors say so, and the sentence that a user reads instead of them."""

from pathlib import Path

from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError

from runs.errors import UserError

UNREADABLE = (
    OSError,
    ValueError,
    RuntimeError,
    TypeError,
    KeyError,
    AttributeError,
    SafetensorError,
    StrictDataclassError,
)
"""What the libraries raise for a damaged file, an impossible setting, and weights of other sizes than the config's."""


def unreadable(path: Path, problem: Exception) -> UserError:
    """The sentence for a checkpoint folder that a library could not load."""
    text = " ".join(str(problem).split()).rstrip(".")
    if "mismatched_sizes" in text:
        text = "its weights have other sizes than its config.json says"
    return UserError(
        f"the model in {path} cannot be read ({text[:200] or type(problem).__name__}): save it again with "
        "save_pretrained, or give another folder."
    )
