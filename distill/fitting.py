"""Whether a teacher, its tokenizer and a task go together: asked before anything is trained or written."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from distill.cells import listed, shown
from distill.encoding import INNER_MARKS, encode, stream_length
from distill.examples import Split, Task
from distill.kinds import KINDS, LanguageModel
from distill.label_names import Order, label_note, label_order
from runs.errors import UserError
from students.spec import Head

MAXIMUM_LENGTH = 128
"""Texts are cut here, or earlier where the task's training texts are all shorter."""

MAXIMUM_LENGTHS = {"spans": 384}
"""Of kinds whose texts are longer: a question comes with a whole paragraph."""

LEAST_POSITIONS = 8
"""Of a teacher: marks and a few words. Tokenizers cut nothing to fewer tokens than their marks."""


def most_tokens(kind: str, positions: int) -> int:
    """Where the texts of a kind of task are cut, for a model of so many positions."""
    return min(MAXIMUM_LENGTHS.get(kind, MAXIMUM_LENGTH), positions)


@dataclass(frozen=True)
class Found:
    """What is known of a teacher before it is fitted: its own head, and what that calls its labels, in its order."""

    name: str
    head: Head
    labels: tuple[str, ...]
    vocabulary_size: int
    positions: int


def fitted_order(found: Found, task: Task) -> Order | None:
    """In which order a teacher answers with the task's labels; None where its head is not for so many of this kind.

    Raises `UserError` for as many labels of other names.
    """
    if found.head != KINDS[task.kind].head_for(task.label_names):
        return None
    return label_order(found.name, found.labels, task.label_names) if task.label_names else ()


def labels_note(found: Found, task: Task) -> str:
    """What is to be said of how a classifier's labels become the task's; empty where nothing is."""
    if found.head.kind != task.kind or not task.label_names:
        return ""
    if found.head.labels == len(task.label_names):
        return label_note(found.name, found.labels, task.label_names)
    return (
        f"the teacher {found.name} tells {found.head.labels} labels apart ({listed(found.labels)}) and the data has "
        f"{len(task.label_names)}: it gets a new head and is fine-tuned"
    )


def check_fit(found: Found, tokenizer: Any, task: Task) -> None:
    """Raise `UserError` where tokenizer, positions or labels of a teacher cannot serve the task."""
    if len(tokenizer) > found.vocabulary_size:
        raise UserError(
            f"the tokenizer of the teacher {found.name} knows {len(tokenizer):,} words and the model has embeddings of "
            f"{found.vocabulary_size:,}: give it the tokenizer it was trained with, or resize its embeddings first."
        )
    if found.positions < LEAST_POSITIONS:
        raise UserError(
            f"the teacher {found.name} has {found.positions} positions, and a text needs at least {LEAST_POSITIONS}: "
            "give another teacher."
        )
    most = most_tokens(task.kind, found.positions)
    splits = {"train": task.train, "validation": task.validation, "test": task.test}
    if task.kind == "spans":
        _check_questions(found.name, tokenizer, splits, most)
    if isinstance(KINDS[task.kind], LanguageModel):
        _check_blocks(tokenizer, task, splits, most)
    fitted_order(found, task)


def _check_questions(name: str, tokenizer: Any, splits: dict[str, Split], most: int) -> None:
    """A question is never cut, and some of its text must stand beside it."""
    room = most - tokenizer.num_special_tokens_to_add(pair=True) - 1
    for part, split in splits.items():
        encoding = tokenizer(list(split.texts), add_special_tokens=False, return_attention_mask=False, verbose=False)
        lengths = [len(row) for row in encoding["input_ids"]]
        if max(lengths) > room:
            question = split.texts[lengths.index(max(lengths))]
            raise UserError(
                f"the question {shown(question)} of the {part} split has {max(lengths)} tokens, and beside a text the "
                f"teacher {name} has room for {room}: shorten it, or drop it."
            )


def _check_blocks(tokenizer: Any, task: Task, splits: dict[str, Split], most: int) -> None:
    """Every split must fill at least one block of tokens."""
    block = most - INNER_MARKS[task.kind]
    for part, split in splits.items():
        found = stream_length(tokenizer, split, task.kind, block)
        if found < block:
            raise UserError(
                f"the {part} split of {task.source} has {found} tokens, fewer than one block of {block}: give more "
                "texts."
            )


def fitting_length(tokenizer: Any, task: Task, positions: int) -> tuple[int, int]:
    """(tokens of the longest training text, but at most those where texts are cut; how many texts are cut there)."""
    most = most_tokens(task.kind, positions)
    if isinstance(KINDS[task.kind], LanguageModel):
        return most, 0
    # One token more than there may be tells those that are cut from those that just fit.
    lengths = encode(tokenizer, task.train, most + 1, task.kind).lengths
    return int(min(lengths.max(), most)), int((lengths > most).sum())


def cut_note(found: Found, cut: int, texts: int, length: int) -> str:
    """What is to be said of texts that are cut; empty where there are none."""
    if not cut:
        return ""
    why = (
        f"the teacher {found.name} has no more positions" if length == found.positions else "no more of a text is read"
    )
    return f"{cut:,} of {texts:,} training texts are longer than {length} tokens and are cut there: {why}"


def say_all(say: Any, notes: Sequence[str]) -> None:
    """Say every note that is one."""
    for note in filter(None, notes):
        say(note)
