"""Long training: a `transformers.Trainer` that can be killed at any step and ends with the same weights.

Several processes that torchrun started train together (`distill.team`): the gradients of their shares of a batch are
averaged, so that the weights are those of one process up to rounding, and the same in all.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from safetensors.torch import save_file
from torch.utils.data import DataLoader
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from distill.averaging import averaged
from distill.batches import Batch, PlannedBatches
from distill.curve import Curve
from distill.lesson import Lesson
from distill.numerics import check_loss, training_device
from distill.optimization import make_optimizer, make_schedule
from distill.parts import parts_of
from distill.recipe import Optimization
from distill.resuming import COMPLETE, newest_checkpoint, step_of
from distill.team import team
from runs.progress import Progress, Task
from runs.seal import seal_folder

WEIGHTS = "model.safetensors"
KEPT_CHECKPOINTS = 2


class _Advance(TrainerCallback):
    def __init__(self, task: Task) -> None:
        self._task = task

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._task.advance()


class _TakeAverage(TrainerCallback):
    """Takes the weights of each step into their average; to be told of a step before anything is stored of it."""

    def __init__(self, lesson: Lesson) -> None:
        self._lesson = lesson

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self._lesson.average is not None:
            self._lesson.average.update(state.global_step)


class _Watch(TrainerCallback):
    """Looks at the loss, and takes a point of the curve if there is one, wherever a checkpoint is due, and at the end.

    The first process has the curve and says when it is done.
    """

    def __init__(self, curve: Curve | None, every: int, losses: list[torch.Tensor], lesson: Lesson) -> None:
        self._curve, self._every, self._losses, self._lesson = curve, every, losses, lesson

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step % self._every and state.global_step < state.max_steps:
            return
        loss = float(torch.stack(self._losses).mean()) if self._losses else 0.0
        self._losses.clear()
        loss = team().total(loss)
        check_loss(loss, state.global_step)
        if self._curve is not None:
            with averaged(self._lesson.average):
                self._curve.add(state.global_step, loss)
        if team().shared(self._curve is not None and self._curve.has_ended):
            control.should_training_stop = True


def _each_its_own(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same weights where no two share memory, as tied ones do, which a file cannot hold."""
    seen: set[int] = set()
    found = {}
    for name, tensor in state.items():
        found[name] = tensor.clone() if tensor.data_ptr() in seen else tensor
        seen.add(tensor.data_ptr())
    return found


def _only(items: list[Batch]) -> Batch:
    return items[0]


class DistillTrainer(Trainer):
    """Walks a plan of batches through a `Lesson`; checkpoints hold its weights, optimizer, schedule and place."""

    accumulate = 1
    """Parts that a step's batch is learnt from in."""
    losses: list[torch.Tensor]
    """Of the steps since the last point of the curve, this process's shares of them."""

    def get_train_dataloader(self) -> DataLoader[Batch]:
        batches = cast(PlannedBatches, self.train_dataset)
        return DataLoader(batches, batch_size=1, shuffle=False, collate_fn=_only)

    def training_step(self, model: Any, inputs: Batch, num_items_in_batch: Any = None) -> torch.Tensor:
        # The library's own accumulation would count batches of unequal size alike.
        model.train()
        total = torch.zeros((), device=self.args.device)
        us = team()
        lesson = cast(Lesson, self.model)
        parts = parts_of(lesson, inputs, self.accumulate, us.rank, us.size)
        for place, part in enumerate(parts):
            for given, last in lesson.passes(self._prepare_inputs(part)):
                with nullcontext() if last and place == len(parts) - 1 else self.accelerator.no_sync(model):
                    loss = model(**given)["loss"]
                    # The mean that is taken over processes must be the sum of their shares.
                    self.accelerator.backward(loss * us.size)
                total += loss.detach()
        self.losses.append(total)
        return total

    def _save(self, output_dir: str | None = None, state_dict: dict[str, torch.Tensor] | None = None) -> None:
        # Weights alone: the pickled arguments that the base class adds are never read by anything here.
        folder = Path(str(output_dir or self.args.output_dir))
        folder.mkdir(parents=True, exist_ok=True)
        save_file(_each_its_own(cast(Lesson, self.model).state_dict()), folder / WEIGHTS, metadata={"format": "pt"})

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        super()._save_checkpoint(model, trial)
        team().wait()
        if self.args.should_save:
            seal_folder(Path(str(self.args.output_dir)) / f"checkpoint-{self.state.global_step}", COMPLETE)


def train(
    lesson: Lesson,
    batches: PlannedBatches,
    settings: Optimization,
    folder: Path,
    *,
    label: str,
    progress: Progress,
    checkpoint_steps: int = 100,
    seed: int = 0,
    curve: Curve | None = None,
) -> None:
    """Train `lesson` in place over all batches, going on from the newest checkpoint in `folder`.

    With the same seed, plan and number of threads the final weights do not depend on interruptions. With a `curve` the
    student ends as it was at its best on validation. Where the settings ask for an average of the weights, that is what
    is judged and what it ends with.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lesson.prepare(settings)
    checkpoint = newest_checkpoint(folder, progress.say)
    done = step_of(checkpoint) if checkpoint else 0
    if curve is not None and curve.resume(done):
        curve.restore()
        lesson.eval()
        return
    work = _Work(lesson, batches, settings, folder, checkpoint, checkpoint_steps, seed)
    with progress.task(label, len(batches), done) as task:
        if team().size > 1:
            lesson.to_device(torch.device("cpu"))
        team().shared(work)
        _run(work, [_Advance(task)], curve)
    lesson.eval()
    if curve is not None:
        curve.restore()
    elif lesson.average is not None:
        lesson.average.swap()


def follow() -> None:
    """What a process that is not the first does: train with it whenever it does, until nothing more will come."""
    while (work := team().shared(None)) is not None:
        _run(work)


@dataclass(frozen=True, eq=False)
class _Work:
    """What is to be trained, as one process tells it the others."""

    lesson: Lesson
    batches: PlannedBatches
    settings: Optimization
    folder: Path
    checkpoint: Path | None
    checkpoint_steps: int
    seed: int


def _run(work: _Work, callbacks: Sequence[TrainerCallback] = (), curve: Curve | None = None) -> None:
    device = training_device()
    us, settings = team(), work.settings
    us.training = True
    work.lesson.to_device(device)
    optimizer = make_optimizer(work.lesson, settings)
    arguments = TrainingArguments(
        output_dir=str(work.folder),
        max_steps=len(work.batches),
        save_strategy="steps",
        save_steps=work.checkpoint_steps,
        save_total_limit=KEPT_CHECKPOINTS,
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=device.type == "cpu",
        max_grad_norm=settings.clip,
        remove_unused_columns=False,
        dataloader_pin_memory=False,
        seed=work.seed,
        # Stages and projections leave weights without a gradient in some steps, which must not be waited for.
        ddp_find_unused_parameters=True,
        # All that is no parameter is the same in every process already.
        ddp_broadcast_buffers=False,
    )
    # One process trains on one GPU; several GPUs are torchrun's.
    arguments._n_gpu = min(arguments.n_gpu, 1)
    losses: list[torch.Tensor] = []
    watch = _Watch(curve, work.checkpoint_steps, losses, work.lesson)
    trainer = DistillTrainer(
        model=work.lesson,
        args=arguments,
        train_dataset=work.batches,
        callbacks=[_TakeAverage(work.lesson), *callbacks, watch],
        optimizers=(optimizer, make_schedule(optimizer, settings, len(work.batches))),
    )
    trainer.losses, trainer.accumulate = losses, settings.accumulate
    trainer.remove_callback(PrinterCallback)
    trainer.train(resume_from_checkpoint=str(work.checkpoint) if work.checkpoint else None)
    us.training = False
