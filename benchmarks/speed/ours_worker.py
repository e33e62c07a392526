"""Our trainer over the teacher's stored answers.

python ours_worker.py FOLDER THREADS WARMUP VOCABULARY
"""

import json
import sys
import time
from pathlib import Path

import torch

from distill.batches import Batch, PlannedBatches, plan_batches
from distill.classroom import Classroom, classroom
from distill.recipe import Optimization
from distill.recipe_file import RECIPES
from distill.tasks import load_task
from distill.teachers import prepare_teacher
from distill.trainer import train
from distill.vocabulary import trained_words
from runs.progress import Progress
from speed.clock import rate, report
from students.spec import StudentSpec

SETTINGS_FILE = "settings.json"
SEED = 0


class Noted(PlannedBatches):
    """Notes when each batch is asked for."""

    asked: list[float]

    def __getitem__(self, step: int) -> Batch:
        self.asked.append(time.perf_counter())
        return super().__getitem__(step)


BARELY = Optimization(1e-4, epochs=1e-9, minimum_steps=1)
"""What a teacher knows decides no speed, and fitting MPNet takes most of an hour on two cores."""


def room_of(data: str, teacher: str | None) -> Classroom:
    """The classroom of a data folder and a teacher that has hardly seen it."""
    task = load_task(data, Progress(quiet=True), None)
    return classroom(prepare_teacher(teacher, task, Progress(quiet=True), training=BARELY), task)


def main() -> None:
    """Train over the plan once."""
    folder, threads, warmup, vocabulary = Path(sys.argv[1]), *sys.argv[2:5]
    torch.set_num_threads(int(threads))
    settings = json.loads((folder / SETTINGS_FILE).read_text())
    recipe = RECIPES["default"]
    room = room_of(settings["data"], settings["teacher"])
    plan = plan_batches(room.train.lengths, recipe.optimization.batch_size, settings["steps"], SEED)
    spec = StudentSpec.from_json(settings["spec"])
    logits = room.train_logits
    lesson = room.lesson(room.start(spec, recipe, SEED), recipe, SEED, logits)
    with trained_words(vocabulary, [lesson.student, *lesson.teachers], [room.train]) as renumber:
        batches = Noted(renumber(room.train), plan, logits)
        batches.asked = []
        place = folder / f"ours-{time.time_ns()}"
        train(
            lesson,
            batches,
            recipe.optimization,
            place,
            label="",
            progress=Progress(quiet=True),
            checkpoint_steps=len(plan) + 1,
        )
    report(rate(batches.asked, [len(part) for part in plan], int(warmup)))


if __name__ == "__main__":
    main()
