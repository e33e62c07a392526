"""Teachers: found, fine-tuned if they have no head for the task, and kept under the home folder by content."""

import shutil
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from filelock import FileLock

from distill.batches import Encoded, PlannedBatches, plan_batches
from distill.checkpoints import has_whole_weights, load_tokenizer, weights_hash
from distill.embedded import DEFAULT_TEACHER, DEFAULT_TEACHER_LICENCE
from distill.encoding import encode
from distill.evaluation import answer, context_of
from distill.examples import Task
from distill.fitting import (
    MAXIMUM_LENGTH,
    check_fit,
    cut_note,
    fitted_order,
    fitting_length,
    labels_note,
    say_all,
)
from distill.kinds import KINDS, LanguageModel
from distill.label_names import reorder_labels
from distill.lesson import Lesson
from distill.masking import Masking, masking_of
from distill.recipe import Optimization, Term
from distill.score_text import score_text
from distill.sources import look_at, with_fresh_head, with_own_head
from distill.stock_teachers import is_stock, load_stock
from distill.trainer import train
from distill.units import answer_in_numbers, labels_learnt, learnt_as, unit_of
from distill.vocabulary import trained_words
from runs.files import content_hash, folder_atomic, read_json, remove_leftovers, write_json_atomic
from runs.home import home_folder
from runs.progress import Progress
from students.bert import load_model
from students.spec import HeadKind

SCHEMA = 1
TEACHER_FILE = "teacher.json"
CHECKPOINT_STEPS = 100


def fine_tuning(kind: HeadKind) -> Optimization:
    """How a teacher is fitted where nobody says how; a language model's long steps are not doubled by moved words."""
    return Optimization(
        learning_rate=1e-4,
        epochs=2,
        warmup=0.06,
        minimum_steps=600,
        steps_per_class=24,
        average=0.99,
        adversarial=0.0 if isinstance(KINDS[kind], LanguageModel) else 0.2,
    )


@dataclass(frozen=True)
class Teacher:
    """A fitted teacher on disk: a BERT or a student in the student's form, any other model as `transformers` has it.

    `content_hash` names weights, task and training.
    """

    folder: Path
    name: str
    licence: str
    parameters: int
    content_hash: str
    maximum_length: int
    validation_score: float

    def model(self) -> Any:
        """The network in eval mode, on the CPU."""
        return load_stock(self.folder) if is_stock(self.folder) else load_model(self.folder)

    def tokenizer(self) -> Any:
        """Its tokenizer."""
        return load_tokenizer(self.folder)


def _fine_tune(
    model: Any,
    encoded: Encoded,
    training: Optimization,
    seed: int,
    work: Path,
    progress: Progress,
    task: Task,
    masking: Masking | None,
) -> None:
    steps = training.steps(len(encoded), len(task.label_names))
    plan = plan_batches(encoded.lengths, training.examples_per_step, steps, seed)
    lesson = Lesson(model, (Term("labels"),), seed=seed, kind=task.kind)
    with trained_words("auto", [model], [encoded]) as renumber:
        train(
            lesson,
            PlannedBatches(renumber(encoded), plan, prepare=masking, seed=seed),
            training,
            work,
            label="fine-tuning the teacher",
            progress=progress,
            checkpoint_steps=CHECKPOINT_STEPS,
            seed=seed,
        )


def _read(folder: Path) -> Teacher:
    stored = read_json(folder / TEACHER_FILE, "teacher's record")
    return Teacher(folder, **{field.name: stored[field.name] for field in fields(Teacher) if field.name != "folder"})


def prepare_teacher(
    source: str | None, task: Task, progress: Progress, seed: int = 0, training: Optimization | None = None
) -> Teacher:
    """The teacher that `--teacher` names, fitted to the task; found again by content, resumed after a kill.

    A classifier for the task's labels is used as it is, its answers in the task's order, and so is a language model;
    one for another number of labels, or any other encoder, gets a new head and is fine-tuned by `training`, or as in
    `fine_tuning`. Raises `UserError` where `source` is missing or not a model that can be read, or does not go with the
    task (`distill.fitting`).
    """
    training = training or fine_tuning(task.kind)
    looked = look_at(source, task.kind, progress)
    checkpoint, found, tokenizer = looked.folder, looked.found, load_tokenizer(looked.folder)
    check_fit(found, tokenizer, task)
    order = fitted_order(found, task)
    model: Any = None
    if order is not None:
        model, whole = with_own_head(checkpoint, task)
        order = order if whole else None
    fitted_by = {**asdict(training), "seed": seed} if order is None else None
    content = [SCHEMA, weights_hash(checkpoint), task.content_hash, fitted_by, MAXIMUM_LENGTH, *learnt_as(task)]
    moved = order is not None and order != tuple(range(len(order)))
    identity = content_hash([*content, order] if moved else content, 16)
    place = home_folder("teachers") / identity
    with FileLock(home_folder("teachers") / f".{identity}.lock"):
        work = place.with_name(f"{identity}.training")
        remove_leftovers(place)
        if (place / TEACHER_FILE).is_file() and has_whole_weights(place):
            shutil.rmtree(work, ignore_errors=True)
            progress.say(f"teacher {found.name}, fitted to {task.name}: found in {place}")
            return _read(place)
        masking = masking_of(task.kind, tokenizer)
        length, cut = fitting_length(tokenizer, task, found.positions)
        say_all(progress.say, [labels_note(found, task), cut_note(found, cut, len(task.train), length)])
        if order:
            reorder_labels(model, order, task.label_names)
        if order is None:
            model = with_fresh_head(checkpoint, task, seed)
            unit = unit_of(task)
            encoded = labels_learnt(encode(tokenizer, task.train, length, task.kind), unit)
            _fine_tune(model, encoded, training, seed, work, progress, task, masking)
            answer_in_numbers(model, unit)
        validation = encode(tokenizer, task.validation, length, task.kind)
        context = context_of(task.kind, tokenizer, task.validation, validation, length, task.label_names)
        logits = answer(model, validation, task.kind, prepare=masking)
        score = KINDS[task.kind].scores(logits, validation.labels, context)[task.metric]
        licence = DEFAULT_TEACHER_LICENCE if found.name == DEFAULT_TEACHER else "as given by the owner of the model"
        parameters = sum(parameter.numel() for parameter in model.parameters())
        teacher = Teacher(place, found.name, licence, parameters, identity, length, score)
        with folder_atomic(place) as folder:
            model.cpu().save_pretrained(folder)
            tokenizer.save_pretrained(folder)
            record = {field.name: getattr(teacher, field.name) for field in fields(Teacher) if field.name != "folder"}
            record |= {"schema": SCHEMA, "fine_tuning": fitted_by, "task": task.name}
            write_json_atomic(folder / TEACHER_FILE, record)
        shutil.rmtree(work, ignore_errors=True)
    said = f"{task.metric} {score_text(task.metric, score)}"
    progress.say(f"teacher {found.name}: {parameters / 1e6:.1f} M parameters, validation {said}")
    return teacher
