"""Short training without checkpoints: what a mini-distillation of some dozens of steps needs, and nothing more."""

import torch
from torch.nn.utils import clip_grad_norm_

from distill.batches import PlannedBatches
from distill.lesson import Lesson
from distill.numerics import check_loss, training_device
from distill.optimization import make_optimizer, make_schedule
from distill.parts import parts_of
from distill.recipe import Optimization

LAST_SHARE = 0.2
"""The loss of a short run is the mean over this share at its end."""


def train_briefly(lesson: Lesson, batches: PlannedBatches, settings: Optimization) -> float:
    """Train `lesson` in place over all batches; the mean loss over the last fifth of the steps.

    Raises `Diverged` where that is no number any more.
    """
    device = training_device()
    lesson.prepare(settings)
    lesson.to_device(device)
    lesson.train()
    optimizer = make_optimizer(lesson, settings)
    schedule = make_schedule(optimizer, settings, len(batches))
    losses = []
    for step in range(len(batches)):
        loss = torch.zeros((), device=device)
        for part in parts_of(lesson, batches[step], settings.accumulate):
            for inputs, _ in lesson.passes({name: tensor.to(device) for name, tensor in part.items()}):
                term = lesson(**inputs)["loss"]
                term.backward()
                loss += term.detach()
        clip_grad_norm_(lesson.parameters(), settings.clip)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(loss)
        if lesson.average is not None:
            lesson.average.update(step + 1)
    if lesson.average is not None:
        lesson.average.swap()
    lesson.eval()
    last = max(1, round(len(losses) * LAST_SHARE))
    found = float(torch.stack(losses[-last:]).mean())
    check_loss(found, len(losses))
    return found
