"""Long training: a `transformers.Trainer` that can be killed at any step and ends with the same weights."""

import shutil
from pathlib import Path
from typing import Any, cast

import torch
from safetensors.torch import save_file
from torch.utils.data import DataLoader
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from distill.batches import Batch, PlannedBatches
from distill.curve import Curve
from distill.lesson import Lesson
from distill.numerics import training_device
from distill.optimization import make_optimizer, make_schedule
from distill.recipe import Optimization
from runs.files import write_bytes_atomic
from runs.progress import Progress, Task

COMPLETE = "complete"
"""Marks a checkpoint folder whose files are all there; the trainer writes them one by one."""

WEIGHTS = "model.safetensors"
KEPT_CHECKPOINTS = 2


class _Advance(TrainerCallback):
    def __init__(self, task: Task) -> None:
        self._task = task

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._task.advance()


class _Watch(TrainerCallback):
    """Takes a point of the curve wherever a checkpoint is due, and at the end."""

    def __init__(self, curve: Curve, every: int, losses: list[torch.Tensor]) -> None:
        self._curve, self._every, self._losses = curve, every, losses

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step % self._every and state.global_step < state.max_steps:
            return
        loss = float(torch.stack(self._losses).mean()) if self._losses else 0.0
        self._losses.clear()
        self._curve.add(state.global_step, loss)
        if self._curve.has_ended:
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

    losses: list[torch.Tensor]
    """Of the steps since the last point of the curve."""

    def get_train_dataloader(self) -> DataLoader[Batch]:
        batches = cast(PlannedBatches, self.train_dataset)
        return DataLoader(batches, batch_size=1, shuffle=False, collate_fn=_only)

    def compute_loss(
        self, model: Any, inputs: Batch, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> torch.Tensor:
        loss: torch.Tensor = model(**inputs)["loss"]
        self.losses.append(loss.detach())
        return loss

    def _save(self, output_dir: str | None = None, state_dict: dict[str, torch.Tensor] | None = None) -> None:
        # Weights alone: the pickled arguments that the base class adds are never read by anything here.
        folder = Path(str(output_dir or self.args.output_dir))
        folder.mkdir(parents=True, exist_ok=True)
        save_file(_each_its_own(cast(Lesson, self.model).state_dict()), folder / WEIGHTS, metadata={"format": "pt"})

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        super()._save_checkpoint(model, trial)
        folder = Path(str(self.args.output_dir)) / f"checkpoint-{self.state.global_step}"
        write_bytes_atomic(folder / COMPLETE, b"")


def _step_of(folder: Path) -> int:
    return int(folder.name.rpartition("-")[2])


def newest_checkpoint(folder: Path) -> Path | None:
    """The last checkpoint that is whole; half-written ones are removed."""
    whole = []
    for path in sorted(folder.glob("checkpoint-*"), key=_step_of):
        if (path / COMPLETE).is_file():
            whole.append(path)
        else:
            shutil.rmtree(path)
    return whole[-1] if whole else None


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
    student ends as it was at its best on validation.
    """
    folder.mkdir(parents=True, exist_ok=True)
    device = training_device()
    lesson.to_device(device)
    optimizer = make_optimizer(lesson, settings)
    arguments = TrainingArguments(
        output_dir=str(folder),
        max_steps=len(batches),
        save_strategy="steps",
        save_steps=checkpoint_steps,
        save_total_limit=KEPT_CHECKPOINTS,
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=device.type == "cpu",
        max_grad_norm=settings.clip,
        remove_unused_columns=False,
        dataloader_pin_memory=False,
        seed=seed,
    )
    checkpoint = newest_checkpoint(folder)
    done = _step_of(checkpoint) if checkpoint else 0
    losses: list[torch.Tensor] = []
    if curve is not None and curve.resume(done):
        curve.restore()
        lesson.eval()
        return
    with progress.task(label, len(batches), done) as task:
        trainer = DistillTrainer(
            model=lesson,
            args=arguments,
            train_dataset=batches,
            callbacks=[_Advance(task), *([] if curve is None else [_Watch(curve, checkpoint_steps, losses)])],
            optimizers=(optimizer, make_schedule(optimizer, settings, len(batches))),
        )
        trainer.losses = losses
        trainer.remove_callback(PrinterCallback)
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    lesson.eval()
    if curve is not None:
        curve.restore()
