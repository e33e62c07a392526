"""The texts and labels of a task as an export needs them: to calibrate, to compare, and to tell what is lost."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from distill.examples import Task
from export.student import load_tokenizer
from export.verify import Batch, Text, text_batches
from runs.errors import UserError
from students.bert import load_model


@dataclass(frozen=True)
class Known:
    """A task beside the checkpoint that was trained for it."""

    task: Task
    validation: tuple[Batch, ...]
    """All validation texts, shortest first."""
    labels: npt.NDArray[np.int64]
    """Of the validation texts in that order, as the checkpoint numbers them."""

    def some_texts(self, count: int) -> list[Text]:
        """At most `count` validation texts, evenly spread."""
        return _spread(self.task.validation.given(), count)

    def training_texts(self, count: int | None = None) -> list[Text]:
        """At most `count` training texts, evenly spread; without a count all of them."""
        texts = self.task.train.given()
        return _spread(texts, count or len(texts))


def known_of(checkpoint: Path, task: Task, maximum_length: int) -> Known:
    """A task tokenised for a checkpoint; `UserError` where its labels are not those of the checkpoint."""
    model = load_model(checkpoint)
    spec = model.config.spec_object
    if spec.head.kind != "classification" or spec.head.labels != len(task.label_names):
        raise UserError(
            f"{checkpoint} answers with {spec.head.labels} labels ({spec.head.kind}) and {task.name} has "
            f"{len(task.label_names)}: name the data that it was trained on."
        )
    texts, split = task.validation.given(), task.validation
    order = sorted(range(len(texts)), key=lambda place: len("".join(texts[place])))
    length = min(maximum_length, spec.maximum_positions)
    batches = text_batches(load_tokenizer(checkpoint), [texts[place] for place in order], maximum_length=length)
    names = {int(number): name for number, name in (model.config.id2label or {}).items()}
    numbers = _numbering(task, names, checkpoint)
    labels = np.array([numbers[split.labels[place]] for place in order], dtype=np.int64)
    return Known(task, tuple(batches), labels)


def _numbering(task: Task, names: Mapping[int, str], checkpoint: Path) -> list[int]:
    """The checkpoint's number of each of the task's labels: by name where the checkpoint has names of its own."""
    own = {name: number for number, name in names.items()}
    if set(own) == {f"LABEL_{number}" for number in range(len(task.label_names))}:
        return list(range(len(task.label_names)))
    missing = [name for name in task.label_names if name not in own]
    if missing:
        raise UserError(f"{checkpoint} knows no label {missing[0]!r}, which {task.name} has: name its own data.")
    return [own[name] for name in task.label_names]


def _spread(texts: list[Text], count: int) -> list[Text]:
    return texts[:: max(1, -(-len(texts) // count))]
