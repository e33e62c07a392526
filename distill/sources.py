"""Where a teacher comes from, and what its folder says before it is fitted."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill.checkpoints import load_tokenizer
from distill.embedded import DEFAULT_TEACHER, minilm_folder
from distill.examples import Task
from distill.fitting import Found, check_fit
from distill.forms import Inputs, layers_of, positions_of, spec_of, students_inputs
from distill.kinds import KINDS
from distill.recipe import Recipe
from distill.stock_teachers import (
    check_stock,
    head_of_stock,
    is_stock,
    starts_from_teacher,
    stock_with_head,
    without_weights,
)
from runs.errors import UserError
from runs.progress import Progress
from students.bert import load_model
from students.model import with_head
from students.spec import Head, StudentSpec
from students.stock_encoders import form_of

HUB_FILES = ["*.json", "*.txt", "*.safetensors", "*.model"]
"""Settings, weights that are no code, and tokenizers; the last are SentencePiece's."""


def _from_hub(name: str) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=HUB_FILES, etag_timeout=10))
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


@dataclass(frozen=True)
class Looked:
    """What a checkpoint folder says before its model is fitted: what the teacher is, its layers, what students read."""

    folder: Path
    found: Found
    layers: int
    inputs: Inputs
    spec: StudentSpec | None
    """Of a teacher in the student's form."""
    cut_from: StudentSpec | None
    """Of what students are cut from where the recipe asks for that: the teacher, or a copy in the student's form."""


def found_in(name: str, model: Any, head: Head, tokenizer: Any) -> Found:
    """What is known of a model called `name`, saved with `head`; its weights are not looked at."""
    names: Any = model.config.id2label or {}
    labels = tuple(str(names[number]) for number in sorted(names))
    return Found(name, head, labels, students_inputs(model, tokenizer).vocabulary_size, positions_of(model))


def look_at(source: str | None, kind: str, progress: Progress, recipe: Recipe | None = None) -> Looked:
    """The teacher that `--teacher` names; `UserError` where it cannot be read, or does not go with kind and recipe."""
    folder, name = find_source(source, progress)
    model: Any
    if is_stock(folder):
        check_stock(folder, kind, recipe)
        model, head = without_weights(folder), head_of_stock(folder)
    else:
        model = load_model(folder)
        head = model.config.spec_object.head
    tokenizer, spec = load_tokenizer(folder), spec_of(model)
    inputs, cut_from = students_inputs(model, tokenizer), spec
    if spec is None and recipe is not None and starts_from_teacher(recipe):
        cut_from = form_of(model, head, inputs.token_types, inputs.maximum_positions)
    return Looked(folder, found_in(name, model, head, tokenizer), layers_of(model), inputs, spec, cut_from)


def check_teacher(source: str | None, task: Task, recipe: Recipe, progress: Progress) -> Looked:
    """What is known of a teacher, or a `UserError` where it does not go with the task or the recipe.

    To be asked before anything is trained or written.
    """
    looked = look_at(source, task.kind, progress, recipe)
    check_fit(looked.found, load_tokenizer(looked.folder), task)
    return looked


def with_own_head(folder: Path, task: Task) -> tuple[Any, bool]:
    """The checkpoint as it is, and whether its head is whole."""
    if is_stock(folder):
        return stock_with_head(folder, KINDS[task.kind].head_for(task.label_names), task.label_names, 0)
    return load_model(folder), True


def with_fresh_head(folder: Path, task: Task, seed: int) -> Any:
    """The checkpoint's encoder, and its pooler if it has one, under a head for the task drawn from `seed`."""
    head = KINDS[task.kind].head_for(task.label_names)
    if is_stock(folder):
        return stock_with_head(folder, head, task.label_names, seed)[0]
    return with_head(load_model(folder, head, seed), head, seed, label_names=task.label_names or None)
