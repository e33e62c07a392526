"""Teachers: found, fine-tuned if they have no head for the task, and kept under the home folder by content."""

import shutil
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from filelock import FileLock

from distill.batches import Encoded, PlannedBatches, plan_batches
from distill.checkpoints import load_tokenizer, weights_hash
from distill.embedded import DEFAULT_TEACHER, DEFAULT_TEACHER_LICENCE, minilm_folder
from distill.encoding import encode
from distill.evaluation import answer, context_of
from distill.examples import Task
from distill.forms import Inputs, positions_of, students_inputs
from distill.kinds import KINDS
from distill.lesson import Lesson
from distill.masking import Masking, masking_of
from distill.recipe import Optimization, Recipe, Term
from distill.stock_teachers import check_stock, is_stock, load_stock, stock_with_head, without_weights
from distill.trainer import train
from runs.errors import UserError
from runs.files import content_hash, folder_atomic, read_json, write_json_atomic
from runs.home import home_folder
from runs.progress import Progress
from students.bert import load_model
from students.model import with_head

SCHEMA = 1
TEACHER_FILE = "teacher.json"
MAXIMUM_LENGTH = 128
"""Texts are cut here, or earlier where the task's training texts are all shorter."""

MAXIMUM_LENGTHS = {"spans": 384}
"""Of kinds whose texts are longer: a question comes with a whole paragraph."""

CHECKPOINT_STEPS = 100
FINE_TUNING = Optimization(learning_rate=5e-5, epochs=2, warmup=0.06)


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


def _from_hub(name: str) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=["*.json", "*.txt", "*.safetensors"], etag_timeout=10))
    except Exception as problem:
        # The client raises errors of several libraries without a common base.
        reason = (str(problem).strip().splitlines() or [type(problem).__name__])[0].rstrip(".:")
        raise UserError(
            f"teacher {name!r} is no folder here and could not be had from the Hugging Face hub ({reason[:120]}): "
            "give a folder made by save_pretrained, of a model and its tokenizer."
        ) from None


def find_source(source: str | None, progress: Progress) -> tuple[Path, str]:
    """(checkpoint folder, name) of the teacher that `--teacher` names; None is the embedded default."""
    if source is None or source == DEFAULT_TEACHER:
        return minilm_folder(progress), DEFAULT_TEACHER
    path = Path(source).expanduser()
    if path.is_dir():
        return path, path.resolve().name
    if path.exists() or source.startswith((".", "/", "~")) or source.count("/") > 1:
        raise UserError(
            f"the teacher {source} is not a folder: give one made by save_pretrained, with config.json, weights and "
            "tokenizer."
        )
    return _from_hub(source), source


def inputs_from(source: str | None, kind: str, recipe: Recipe, progress: Progress) -> Inputs:
    """What students of the teacher that `--teacher` names read, known before it is fitted.

    Raises `UserError` where it cannot be read, or cannot teach a kind of task by a recipe.
    """
    folder, _ = find_source(source, progress)
    if is_stock(folder):
        check_stock(folder, kind, recipe)
    model = without_weights(folder) if is_stock(folder) else load_model(folder)
    return students_inputs(model, load_tokenizer(folder))


def _under_head(folder: Path, task: Task, seed: int) -> tuple[Any, bool]:
    """The checkpoint under a head for the task, and whether that is its own; a new one is drawn from `seed`."""
    head = KINDS[task.kind].head_for(task.label_names)
    if is_stock(folder):
        check_stock(folder, task.kind)
        return stock_with_head(folder, head, task.label_names, seed)
    found = load_model(folder)
    if found.config.spec_object.head == head:
        return found, True
    return with_head(load_model(folder, head, seed), head, seed, label_names=task.label_names or None), False


def _fine_tune(
    model: Any,
    encoded: Encoded,
    training: Optimization,
    seed: int,
    work: Path,
    progress: Progress,
    kind: str,
    masking: Masking | None,
) -> None:
    plan = plan_batches(encoded.lengths, training.batch_size, training.steps(len(encoded)), seed)
    lesson = Lesson(model, (Term("labels"),), seed=seed, kind=kind)
    train(
        lesson,
        PlannedBatches(encoded, plan, prepare=masking, seed=seed),
        training,
        work,
        label="fine-tuning the teacher",
        progress=progress,
        checkpoint_steps=CHECKPOINT_STEPS,
        seed=seed,
    )


def fitting_length(tokenizer: Any, task: Task, positions: int) -> int:
    """Tokens of the longest training text, but at most `MAXIMUM_LENGTH` and what the model has positions for."""
    most = min(MAXIMUM_LENGTHS.get(task.kind, MAXIMUM_LENGTH), positions)
    return int(encode(tokenizer, task.train, most, task.kind).lengths.max())


def _read(folder: Path) -> Teacher:
    stored = read_json(folder / TEACHER_FILE, "teacher's record")
    return Teacher(folder, **{field.name: stored[field.name] for field in fields(Teacher) if field.name != "folder"})


def prepare_teacher(
    source: str | None, task: Task, progress: Progress, seed: int = 0, training: Optimization = FINE_TUNING
) -> Teacher:
    """The teacher that `--teacher` names, fitted to the task; found again by content, resumed after a kill.

    A classifier with as many labels as the task is used as it is, and so is a language model; any other encoder gets a
    new head and is fine-tuned. Raises `UserError` where `source` is missing or not a model that can be read.
    """
    checkpoint, name = find_source(source, progress)
    model, fitted = _under_head(checkpoint, task, seed)
    tokenizer = load_tokenizer(checkpoint)
    fine_tuning = None if fitted else {**asdict(training), "seed": seed}
    identity = content_hash([SCHEMA, weights_hash(checkpoint), task.content_hash, fine_tuning, MAXIMUM_LENGTH], 16)
    place = home_folder("teachers") / identity
    with FileLock(home_folder("teachers") / f".{identity}.lock"):
        if (place / TEACHER_FILE).is_file():
            progress.say(f"teacher {name}, fitted to {task.name}: found in {place}")
            return _read(place)
        work = place.with_name(f"{identity}.training")
        masking = masking_of(task.kind, tokenizer)
        length = fitting_length(tokenizer, task, positions_of(model))
        if not fitted:
            encoded = encode(tokenizer, task.train, length, task.kind)
            _fine_tune(model, encoded, training, seed, work, progress, task.kind, masking)
        validation = encode(tokenizer, task.validation, length, task.kind)
        context = context_of(task.kind, tokenizer, task.validation, validation, length, task.label_names)
        logits = answer(model, validation, task.kind, prepare=masking)
        score = KINDS[task.kind].scores(logits, validation.labels, context)[task.metric]
        licence = DEFAULT_TEACHER_LICENCE if name == DEFAULT_TEACHER else "as given by the owner of the model"
        parameters = sum(parameter.numel() for parameter in model.parameters())
        teacher = Teacher(place, name, licence, parameters, identity, length, score)
        with folder_atomic(place) as folder:
            model.cpu().save_pretrained(folder)
            tokenizer.save_pretrained(folder)
            record = {field.name: getattr(teacher, field.name) for field in fields(Teacher) if field.name != "folder"}
            record |= {"schema": SCHEMA, "fine_tuning": fine_tuning, "task": task.name}
            write_json_atomic(folder / TEACHER_FILE, record)
        shutil.rmtree(work, ignore_errors=True)
    progress.say(f"teacher {name}: {parameters / 1e6:.1f} M parameters, validation {task.metric} {score:.1%}")
    return teacher
