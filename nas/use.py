"""What students are used as, and timed as: with the head that they are taught under, or as encoders that tasks read."""

from pathlib import Path

from distill.checkpoints import load_tokenizer
from runs.files import folder_atomic
from students.bert import load_model
from students.model import with_head
from students.spec import Head, HeadKind

ENCODER = "encoder"
"""Folder of a student without its language model's head."""


def used_as_encoder(kind: HeadKind) -> bool:
    """Whether students of such tasks are used without their head."""
    return kind == "masked-lm"


def used_head(head: Head) -> Head:
    """The head under which a student that is taught under `head` is used.

    Nobody asks a small masked language model for words: it is what students of tasks start from, and its hidden states
    are what they read. Its head would be most of its milliseconds, a score for each word of the vocabulary at each
    place.
    """
    return Head("none") if used_as_encoder(head.kind) else head


def used_checkpoint(folder: Path, place: Path) -> Path:
    """The checkpoint in `folder` as it is used: the folder itself, or its encoder, left in `place` with a tokenizer."""
    model = load_model(folder)
    head = model.config.spec_object.head
    if used_head(head) == head:
        return folder
    if not place.is_dir():
        with folder_atomic(place) as scratch:
            with_head(model, used_head(head)).save_pretrained(scratch)
            load_tokenizer(folder).save_pretrained(scratch)
    return place
