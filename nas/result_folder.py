"""What a search leaves in the folder of a budget: names, and which of its checkpoints the files are made of."""

from pathlib import Path

CHECKPOINT = "student"
"""Folder of the finished student."""

ENCODER = "encoder"
"""Folder of its encoder, where the student is a language model (`nas.use`)."""


def checkpoint_of(folder: Path) -> Path:
    """The checkpoint in a result folder that its files are made of."""
    return folder / (ENCODER if (folder / ENCODER).is_dir() else CHECKPOINT)
