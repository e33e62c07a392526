"""What many write: `transformers.Trainer` over stock models, the teacher run at each step, in bf16 where that helps.

python trainer_worker.py FOLDER THREADS WARMUP TEMPERATURE MIXED
"""

import inspect
import sys
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader
from transformers import AutoModelForSequenceClassification, Trainer, TrainingArguments

from speed.clock import Clocked, rate, report


class KnowledgeTrainer(Trainer):
    """Softened answers of a teacher that is asked at each step."""

    teacher: Any
    temperature: float
    mixed: bool

    def get_train_dataloader(self) -> DataLoader[Any]:
        return DataLoader(self.train_dataset, batch_size=1, shuffle=False, collate_fn=lambda items: items[0])  # type: ignore[arg-type]

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        inputs.pop("labels")
        taken = inspect.signature(self.teacher.forward).parameters
        with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.mixed):
            theirs = self.teacher(**{name: value for name, value in inputs.items() if name in taken}).logits
        ours = model(**inputs).logits
        t = self.temperature
        return F.kl_div((ours / t).log_softmax(-1), (theirs / t).log_softmax(-1), log_target=True,
                        reduction="batchmean") * t * t  # fmt: skip


def main() -> None:
    """Train over the stored batches once."""
    folder, threads, warmup, temperature, mixed = Path(sys.argv[1]), *sys.argv[2:6]
    torch.set_num_threads(int(threads))
    batches = Clocked(folder)
    teacher = AutoModelForSequenceClassification.from_pretrained(folder / "teacher").eval()
    student = AutoModelForSequenceClassification.from_pretrained(folder / "student")
    arguments = TrainingArguments(
        output_dir=str(folder / "trainer"), max_steps=len(batches), learning_rate=3e-4, warmup_steps=10,
        save_strategy="no", logging_strategy="no", report_to="none", disable_tqdm=True, use_cpu=True,
        bf16=mixed == "bf16", optim="adamw_torch_fused", remove_unused_columns=False, dataloader_pin_memory=False,
    )  # fmt: skip
    trainer = KnowledgeTrainer(model=student, args=arguments, train_dataset=batches)
    trainer.teacher, trainer.temperature, trainer.mixed = teacher, float(temperature), mixed == "bf16"
    trainer.train()
    sizes = [len(batch["labels"]) for batch in batches.batches]
    report(rate(batches.asked, sizes, int(warmup)))


main()
