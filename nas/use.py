"""What students are used as, and timed as: with the head that they are taught under, or as encoders that tasks read."""

from pathlib import Path

from distill.checkpoints import load_tokenizer
from distill.forms import students_inputs
from distill.stock_teachers import head_of_stock, is_stock, load_stock
from runs.files import folder_atomic
from students.bert import load_model
from students.model import with_head
from students.spec import Head, HeadKind
from students.stock import checkpoint_outline
from students.stock_encoders import student_form


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


def timed_as(folder: Path, kind: HeadKind) -> str:
    """What is timed of the teacher in `folder`, in words."""
    encoder, stock = used_as_encoder(kind), is_stock(folder)
    if stock:
        return f"{'the encoder of ' if encoder else ''}a BERT of its shape"
    return "its encoder" if encoder else "itself"


def used_checkpoint(folder: Path, place: Path) -> Path:
    """The checkpoint in `folder` as it is used: the folder itself where it is, else a copy, left in `place`.

    A language model's copy is its encoder; a stock model's has our form, which is what can be timed of it.
    """
    if place.is_dir():
        return place
    stock = is_stock(folder)
    head = head_of_stock(folder) if stock else checkpoint_outline(folder).spec.head
    if used_head(head) == head and not stock:
        return folder
    tokenizer = load_tokenizer(folder)
    if stock:
        original = load_stock(folder)
        inputs = students_inputs(original, tokenizer)
        model = student_form(original, head, inputs.token_types, inputs.maximum_positions)
    else:
        model = load_model(folder)
    with folder_atomic(place) as scratch:
        with_head(model, used_head(head)).save_pretrained(scratch)
        tokenizer.save_pretrained(scratch)
    return place
