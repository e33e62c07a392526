"""Teaching one cell's student, and what is kept of it: scores, divergence, and which answers were right."""

from dataclasses import asdict, dataclass
from time import perf_counter
from typing import Any

import numpy as np

import devices.targets  # noqa: F401  (fills the registry)
from devices.fingerprint import fingerprint
from devices.target import open_target
from distill.bag_of_words import bag_of_words
from distill.batches import Encoded
from distill.brief import train_briefly
from distill.classroom import Classroom
from distill.course import begun
from distill.encoding import encode
from distill.evaluation import answer
from distill.examples import Split
from distill.forms import students_inputs
from distill.numerics import training_device
from distill.recipe import Recipe
from export.lowering import LOWERING_VERSION
from grid.cells import Cell, Shape
from students.spec import StudentSpec, uniform_spec


def as_text(right: Any) -> str:
    """[n] bool → hexadecimal, eight answers in two digits."""
    return np.packbits(np.asarray(right, dtype=bool)).tobytes().hex()


def from_text(text: str, count: int) -> Any:
    """Inverse of `as_text`."""
    return np.unpackbits(np.frombuffer(bytes.fromhex(text), dtype=np.uint8))[:count].astype(bool)


@dataclass(frozen=True)
class Outcome:
    """One taught student. `right` has, for each split, which answers were right (`as_text`); `seconds` are of training
    alone, on the threads of one worker."""

    key: str
    stage: str
    table: str
    task: str
    shape: str
    arm: str
    seed: int
    steps: int
    parameters: int
    validation: float
    test: float
    divergence: float
    seconds: float
    right: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        """Plain numbers and text."""
        return asdict(self)


def spec_of(room: Classroom, shape: Shape, embedding_width: int | None = None) -> StudentSpec:
    """A student of a shape with the words and positions of the room's teacher, and the head of its task."""
    like = students_inputs(room.model, room.tokenizer)
    return uniform_spec(
        shape.layers,
        shape.hidden_width,
        shape.heads,
        shape.ffn_width,
        embedding_width=embedding_width,
        vocabulary_size=like.vocabulary_size,
        maximum_positions=like.maximum_positions,
        token_types=like.token_types,
        head=room.kind.head_for(room.task.label_names),
    )


def taught(room: Classroom, spec: StudentSpec, recipe: Recipe, seed: int, steps: int | None) -> tuple[Any, int, float]:
    """A student as it is after its last step, the number of steps, and the seconds of training alone."""
    with begun(room, spec, recipe, seed, steps=steps) as run:
        start = perf_counter()
        train_briefly(run.lesson, run.batches, recipe.optimization)
        return run.lesson.student, len(run.batches), perf_counter() - start


def test_split(room: Classroom) -> Encoded:
    """The tokens and labels of a task's test split."""
    return encode(room.tokenizer, room.task.test, room.teacher.maximum_length, room.task.kind)


def teach(room: Classroom, cell: Cell) -> Outcome:
    """A student as the cell says, as it is after its last step: nothing is chosen on validation here."""
    spec = spec_of(room, cell.shape)
    student, steps, seconds = taught(room, spec, cell.recipe, cell.seed, cell.steps)
    validation = answer(student, room.validation, room.task.kind)
    _, divergence = room.judge(validation)
    test = test_split(room)
    right = {
        "validation": validation.argmax(-1) == room.validation.labels,
        "test": answer(student, test, room.task.kind).argmax(-1) == test.labels,
    }
    return Outcome(
        cell.key,
        cell.stage,
        cell.table,
        cell.task,
        cell.shape.name,
        cell.arm,
        cell.seed,
        steps,
        spec.parameters(),
        float(right["validation"].mean()),
        float(right["test"].mean()),
        divergence,
        round(seconds, 1),
        {name: as_text(one) for name, one in right.items()},
    )


def machine() -> dict[str, Any]:
    """Of the machine that teaches here."""
    return fingerprint(open_target(training_device().type), LOWERING_VERSION).to_json()


def references(room: Classroom) -> dict[str, Any]:
    """Of a task: the teacher's and bag-of-words' right answers on both splits, and their number."""
    words, found = bag_of_words(room.task), {}
    splits: dict[str, Split] = {"validation": room.task.validation, "test": room.task.test}
    for name, split in splits.items():
        encoded = encode(room.tokenizer, split, room.teacher.maximum_length, room.task.kind)
        wanted = np.array(split.labels)
        found[name] = {
            "examples": len(split),
            "teacher": as_text(answer(room.model, encoded, room.task.kind).argmax(-1) == wanted),
            "bag_of_words": as_text(words.predict(list(split.texts)) == wanted),
        }
    return found
