"""TextBrewer's distiller over stock models; run by the interpreter of its own environment.

python textbrewer_worker.py FOLDER THREADS WARMUP TEMPERATURE MIXED CACHED
"""

import inspect
import logging
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from textbrewer import BasicDistiller, DistillationConfig, TrainingConfig  # type: ignore[import-not-found]
from torch.utils.data import DataLoader
from transformers import AutoModelForSequenceClassification, get_linear_schedule_with_warmup

from speed.clock import Clocked, rate, report


def adaptor(batch: Any, output: Any) -> dict[str, Any]:
    """What the distiller compares."""
    return {"logits": [output.logits]}


class Watched(torch.nn.Module):
    """A student that notes when it is asked, since a cache leaves the loader alone; in bf16 if it may."""

    def __init__(self, model: Any, mixed: bool) -> None:
        super().__init__()
        self.model, self.mixed = model, mixed
        self.asked: list[float] = []

    def forward(self, **batch: Any) -> Any:
        self.asked.append(time.perf_counter())
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.mixed):
            return self.model(**batch)


class Mixed(torch.nn.Module):
    """A teacher in bf16, if it may."""

    def __init__(self, model: Any, mixed: bool) -> None:
        super().__init__()
        self.model, self.mixed = model, mixed

    def forward(self, **batch: Any) -> Any:
        taken = inspect.signature(self.model.forward).parameters
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.mixed):
            return self.model(**{name: value for name, value in batch.items() if name in taken})


def main() -> None:
    """Train over the stored batches once; with a cache the teacher's answers are computed before."""
    folder, threads, warmup, temperature = Path(sys.argv[1]), *sys.argv[2:5]
    mixed, cached = sys.argv[5] == "bf16", sys.argv[6] == "cached"
    torch.set_num_threads(int(threads))
    logging.disable(logging.INFO)
    batches = Clocked(folder, ("input_ids", "attention_mask", "token_type_ids"))
    teacher = AutoModelForSequenceClassification.from_pretrained(folder / "teacher").eval()
    student = AutoModelForSequenceClassification.from_pretrained(folder / "student").train()
    watched = Watched(student, mixed)
    optimizer = torch.optim.AdamW(student.parameters(), lr=3e-4, fused=True)
    with tempfile.TemporaryDirectory() as output:
        distiller = BasicDistiller(
            TrainingConfig(device="cpu", output_dir=output, log_dir=None, ckpt_frequency=1),
            DistillationConfig(
                temperature=float(temperature), hard_label_weight=0, kd_loss_type="ce", is_caching_logits=cached
            ),
            Mixed(teacher, mixed), watched, adaptor, adaptor,
        )  # fmt: skip
        loader = DataLoader(batches, batch_size=1, shuffle=False, collate_fn=lambda items: items[0])
        steps = len(batches)
        with distiller:
            distiller.train(
                optimizer, loader, num_epochs=1, scheduler_class=get_linear_schedule_with_warmup,
                scheduler_args={"num_warmup_steps": 10, "num_training_steps": steps}, max_grad_norm=1.0,
            )  # fmt: skip
    sizes = [len(batch["input_ids"]) for batch in batches.batches]
    report(rate(watched.asked, sizes, int(warmup)))


main()
