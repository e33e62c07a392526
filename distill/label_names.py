"""Whether a classifier's labels are a task's, and in which order: by their names, where they have such."""

import re
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from distill.cells import listed
from runs.errors import UserError
from students.heads import Head

NAMELESS = re.compile(r"\s*(?:LABEL_)?(-?\d+)\s*", re.IGNORECASE)
"""What says nothing of a class but its number."""

Order = tuple[int, ...]
"""For each label of a task, its place among a classifier's."""


def nameless(names: Sequence[str]) -> bool:
    """Whether all of them are numbers alone, or what `transformers` calls labels that nobody named."""
    return all(NAMELESS.fullmatch(name) for name in names)


def label_order(teacher: str, theirs: Sequence[str], ours: Sequence[str]) -> Order:
    """The place of each of a task's labels `ours` among as many of a teacher's; capital letters make no difference.

    Where one side has no names, the first is taken for the first, and so on, in the order of numbers where the task has
    numbers. Raises `UserError` for other names.
    """
    for key in (str, lambda name: name.strip().casefold()):
        known = {key(name): place for place, name in enumerate(theirs)}
        wanted = [key(name) for name in ours]
        if len(known) == len(theirs) and sorted(known) == sorted(wanted):
            return tuple(known[name] for name in wanted)
    if nameless(ours) and (order := _by_number(theirs, ours)):
        return order
    if nameless(theirs) or nameless(ours):
        return tuple(range(len(ours)))
    raise UserError(
        f"the teacher {teacher} is a classifier for {listed(theirs)}, and the data has as many labels with other "
        f"names, {listed(ours)}: call the data's as the teacher's, or give a teacher without its head "
        "(AutoModel.from_pretrained(…).save_pretrained(…)), which is then fine-tuned."
    )


def _by_number(theirs: Sequence[str], ours: Sequence[str]) -> Order | None:
    """Where both are numbers, each by its own; where only the task's are, in their order: as text 10 is before 2."""
    numbers = [int(NAMELESS.fullmatch(name)[1]) for name in ours]  # type: ignore[index]
    if nameless(theirs):
        known = [int(NAMELESS.fullmatch(name)[1]) for name in theirs]  # type: ignore[index]
        if sorted(known) == sorted(numbers):
            return tuple(known.index(number) for number in numbers)
    if len(set(numbers)) < len(numbers):
        return None
    ranks = sorted(numbers)
    return tuple(ranks.index(number) for number in numbers)


def label_note(teacher: str, theirs: Sequence[str], ours: Sequence[str]) -> str:
    """What is to be said of labels that are taken for each other by their places alone; empty where names agree."""
    if sorted(name.casefold() for name in theirs) == sorted(name.casefold() for name in ours):
        return ""
    return f"the labels {listed(ours)} are taken for {listed(theirs)} of the teacher {teacher}, in this order"


def same_labels(model: Any, head: Head, names: Sequence[str]) -> Order | None:
    """In which order a model with `head` answers with labels of these names; None where it has others."""
    if model.config.spec_object.head != head:
        return None
    theirs = tuple(str(name) for _, name in sorted((model.config.id2label or {}).items()))
    try:
        return label_order("", theirs, names) if names else ()
    except UserError:
        return None


@torch.no_grad()
def reorder_labels(model: Any, order: Order, names: Sequence[str]) -> None:
    """Put a classifier's answers into a task's order, and call them by the task's `names`, in place.

    What answers is the last linear part with as many outputs, in models of our own form and of others.
    """
    linear = (part for part in reversed(list(model.modules())) if isinstance(part, nn.Linear))
    classifier = next(part for part in linear if part.out_features == len(order))
    for parameter in classifier.parameters():
        parameter.copy_(parameter[list(order)].clone())
    model.config.id2label = dict(enumerate(names))
    model.config.label2id = {name: number for number, name in enumerate(names)}
