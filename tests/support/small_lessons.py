"""Lessons of every kind of task with a tiny student and teacher, and batches of a few texts for them."""

import torch
from torch import Tensor

from distill.batches import Batch
from distill.lesson import Lesson
from distill.masking import Masking
from distill.recipe import Term
from students.headed import UNLABELLED
from students.model import build_student
from students.spec import Head, uniform_spec

LENGTHS = (3, 4, 4, 5, 7, 8, 8)
LABELS = {"classification": 3, "regression": 1, "tokens": 3}


def small_lesson(kind: str, *terms: Term) -> Lesson:
    """Two layers of 16 channels that learn from three of 24."""
    head = Head(kind, LABELS.get(kind, 2))
    ours, theirs = (
        uniform_spec(layers, width, 4, 32, vocabulary_size=30, maximum_positions=20, head=head)
        for layers, width in ((2, 16), (3, 24))
    )
    return Lesson(build_student(ours, 1), terms, build_student(theirs, 2), kind=kind)


def small_batch(kind: str, texts: int = len(LENGTHS)) -> Batch:
    """Texts of `LENGTHS`, some without a label."""
    generator = torch.Generator().manual_seed(0)
    mask = (torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS)[:, None]).long()
    ids = torch.randint(5, 30, mask.shape, generator=generator) * mask
    labels = {
        "classification": torch.tensor([0, 2, UNLABELLED, 1, 1, UNLABELLED, 0]),
        "regression": torch.tensor([0.5, 1.0, torch.nan, -1.0, 2.0, 0.0, torch.nan]),
        "tokens": torch.where(torch.rand(mask.shape, generator=generator) < 0.5, ids % 3, UNLABELLED),
        "spans": torch.stack([torch.zeros(len(LENGTHS)), torch.tensor(LENGTHS) - 1], 1).long(),
    }.get(kind, torch.where(mask == 1, ids, UNLABELLED))
    made = {"input_ids": ids, "attention_mask": mask, "token_type_ids": torch.zeros_like(ids), "labels": labels}
    if kind == "masked-lm":
        # So few that some texts have none.
        made = Masking(3, 30, (0, 1, 2, 3, 4), share=0.1)(made, (0, 0))
    return {name: tensor[:texts] for name, tensor in made.items()} | {"share_done": torch.tensor(0.0)}


def gradient(taught: Lesson, parts: list[Batch]) -> tuple[float, Tensor]:
    """The sum of the losses of all parts, and its gradient by all that is trained."""
    losses = [taught(**part)["loss"] for part in parts]
    total = torch.stack(losses).sum()
    taught.zero_grad()
    total.backward()
    found = [p.grad.flatten() if p.grad is not None else torch.zeros(p.numel()) for p in taught.parameters()]
    return float(total.detach()), torch.cat(found)
