"""What all students of one teacher on one task share: tokens, the teacher's answers, its channels' importance."""

from collections.abc import Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from distill.batches import Encoded, encode
from distill.evaluation import Logits, answer
from distill.examples import Task
from distill.initialization import INITIALIZATIONS, Source
from distill.matching import MATCHINGS
from distill.numerics import training_device
from distill.recipe import Recipe
from distill.teachers import Teacher
from runs.files import folder_atomic
from students.importance import Importance, Point
from students.model import StudentPreTrainedModel
from students.slicing import importance
from students.spec import StudentSpec

IMPORTANCE_BATCHES = 8
IMPORTANCE_BATCH = 32
IMPORTANCE_FILE = "importance.safetensors"
LOGITS_FILE = "logits.npy"

POINT_PARTS = ("score", "mean", "covariance", "count")


def _save_importance(path: Path, found: Importance) -> None:
    tensors = {
        f"{name}|{part}": torch.as_tensor(getattr(point, part)).contiguous()
        for name, point in found.points.items()
        for part in POINT_PARTS
    }
    save_file(tensors, path)


def _load_importance(path: Path) -> Importance:
    tensors = load_file(path)
    names = dict.fromkeys(key.partition("|")[0] for key in tensors)
    return Importance(
        {
            name: Point(
                tensors[f"{name}|score"],
                tensors[f"{name}|mean"],
                tensors[f"{name}|covariance"],
                int(tensors[f"{name}|count"]),
            )
            for name in names
        }
    )


class Classroom:
    """Lazily holds what is asked for; what costs more than a second is kept in the teacher's folder as well."""

    def __init__(self, teacher: Teacher, task: Task) -> None:
        self.teacher = teacher
        self.task = task

    @cached_property
    def tokenizer(self) -> Any:
        """The teacher's, which is the students' too."""
        return self.teacher.tokenizer()

    @cached_property
    def model(self) -> StudentPreTrainedModel:
        """The teacher's network, on the training device, in eval mode."""
        model = self.teacher.model()
        torch.nn.Module.to(model, training_device())
        return model

    @cached_property
    def train(self) -> Encoded:
        """Tokens of the train split."""
        return encode(self.tokenizer, self.task.train, self.teacher.maximum_length)

    @cached_property
    def validation(self) -> Encoded:
        """Tokens of the validation split."""
        return encode(self.tokenizer, self.task.validation, self.teacher.maximum_length)

    @cached_property
    def train_logits(self) -> Logits:
        """The teacher's answers to the train split, memory-mapped [n, labels]."""
        return self._logits("train", self.train, mixed=True)

    @cached_property
    def validation_logits(self) -> Logits:
        """The teacher's answers to the validation split, memory-mapped [n, labels]."""
        return self._logits("validation", self.validation, mixed=False)

    def _place(self, what: str) -> Path:
        return self.teacher.folder / "outputs" / f"{what}-{self.task.content_hash}"

    def _logits(self, part: str, encoded: Encoded, mixed: bool) -> Logits:
        place = self._place(part)
        if not (place / LOGITS_FILE).is_file():
            with folder_atomic(place) as folder:
                np.save(folder / LOGITS_FILE, answer(self.model, encoded, mixed))
        logits: Logits = np.load(place / LOGITS_FILE, mmap_mode="r")
        return logits

    @cached_property
    def importance(self) -> Importance:
        """What the teacher's channels, heads and neurons are worth, from some batches of the train split."""
        place = self._place("importance")
        if not (place / IMPORTANCE_FILE).is_file():
            chosen = np.random.default_rng(0).permutation(len(self.train))[: IMPORTANCE_BATCHES * IMPORTANCE_BATCH]
            order = chosen[np.argsort(self.train.lengths[chosen], kind="stable")]
            batches = [self.train.batch(part) for part in np.array_split(order, -(-len(order) // IMPORTANCE_BATCH))]
            with folder_atomic(place) as folder:
                _save_importance(folder / IMPORTANCE_FILE, importance(self.model, batches))
        return _load_importance(place / IMPORTANCE_FILE)

    def start(self, spec: StudentSpec, recipe: Recipe, seed: int) -> StudentPreTrainedModel:
        """A student as the recipe's initialization leaves it, with the task's label names."""
        pairs = MATCHINGS[recipe.layer_map](len(spec.layers), len(self.model.config.spec_object.layers))
        layer_map: Sequence[int] = [teacher_layers[-1] for _, teacher_layers in pairs]
        source = Source(self.model, lambda: self.importance, tuple(layer_map), seed)
        student = INITIALIZATIONS[recipe.initialization](spec, source)
        student.config.id2label = dict(enumerate(self.task.label_names))
        student.config.label2id = {name: number for number, name in enumerate(self.task.label_names)}
        return student


@lru_cache(maxsize=2)
def classroom(teacher: Teacher, task: Task) -> Classroom:
    """The classroom of this teacher and task, the same one for every student of this process."""
    return Classroom(teacher, task)
