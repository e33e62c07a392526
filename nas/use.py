"""What students are used as, and timed as: with the head that they are taught under, or as encoders that tasks read."""

from dataclasses import replace
from pathlib import Path

from devices.target import open_target
from devices.workload import Workload
from distill.checkpoints import load_tokenizer
from distill.forms import decoder_shape, students_inputs
from distill.stock_teachers import head_of_stock, is_stock, load_stock
from runs.errors import UserError
from runs.files import folder_atomic
from students.bert import load_model
from students.heads import CAUSAL_LAYERS
from students.model import build_student, with_head
from students.space import SearchSpace
from students.spec import Head, HeadKind
from students.stock import checkpoint_outline
from students.stock_encoders import STOCK_ENCODERS, student_form


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
        if kind == "causal-lm":
            return "a causal student of its depth and widths"
        return f"{'the encoder of ' if encoder else ''}a BERT of its shape"
    return "its encoder" if encoder else "itself"


def used_checkpoint(folder: Path, place: Path) -> Path:
    """The checkpoint in `folder` as it is used: the folder itself where it is, else a copy, left in `place`.

    A masked language model's copy is its encoder; a stock model's has our form, which is what can be timed of it, a
    decoder's its sizes alone.
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
        if original.config.model_type in STOCK_ENCODERS:
            model = student_form(original, head, inputs.token_types, inputs.maximum_positions)
        else:
            model = build_student(decoder_shape(original, head, inputs))
    else:
        model = load_model(folder)
    with folder_atomic(place) as scratch:
        with_head(model, used_head(head)).save_pretrained(scratch)
        tokenizer.save_pretrained(scratch)
    return place


def next_token(workload: Workload, positions: int) -> Workload:
    """What is timed of a student that writes on: one token after as many as the workload has, which is the longest part
    of writing a text; as many as leave it a position."""
    return replace(workload, sequence_length=1, earlier_tokens=min(workload.sequence_length, positions - 1))


def require_causal(members: SearchSpace, target: str | None) -> None:
    """Raise `UserError` for a space with layers that see later words, and a target that runs no files."""
    others = sorted({form.type for form in members.choices.types} - set(CAUSAL_LAYERS))
    if others:
        raise UserError(
            f"the space {members.name} has layers of type {', '.join(others)}, which see later words, and a student "
            "that writes on must not: search with --space hybrid, or another without them."
        )
    if target is not None and open_target(target).artifact == "torch":
        raise UserError(
            f"target {target!r} runs checkpoints, and the next token of a text is timed in ONNX files, which keep its "
            "cache: use --target onnxruntime or openvino."
        )
