"""Teachers of other architectures: any encoder that the Auto classes load, and decoders for causal language modelling.

They are loaded from what lies in a folder, as safetensors or one GGUF file, and never by code that came with a model.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModel, GgufConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, MODEL_FOR_MASKED_LM_MAPPING_NAMES
from transformers.utils import logging

import distill.stock_features  # registers what is known of them
from distill.checkpoints import gguf_of
from distill.initialization import earlier_model, find_initialization, random_weights
from distill.objectives import OBJECTIVES, LayerObjective
from distill.recipe import Recipe
from runs.errors import UserError
from runs.files import read_json
from students.encoder import PROBLEM_TYPES
from students.heads import Head, HeadKind
from students.model import AUTO_CLASSES, StudentConfig
from students.reading import UNREADABLE, unreadable
from students.stock import saved_head
from students.stock_encoders import STOCK_ENCODERS

AUTO: dict[HeadKind, Any] = {kind: auto for auto, ours in AUTO_CLASSES for kind in ours.kinds}
"""Head kind → the class that loads a stock model with such a head."""

STUDENT_FORM = ("bert", StudentConfig.model_type)
"""Model types that teach in the student's form (`students.bert.load_model`)."""

SAFELY: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}


def stock_type(folder: Path) -> str | None:
    """What a model that teaches in its own form says it is; None of others, and where there is no model."""
    if gguf_of(folder):
        return "gguf"
    if not (folder / "config.json").is_file():
        return None
    settings = read_json(folder / "config.json", "model's config")
    named = str(settings.get("model_type")) if isinstance(settings, dict) else STUDENT_FORM[0]
    return None if named in STUDENT_FORM else named


def is_stock(folder: Path) -> bool:
    """Whether a checkpoint folder holds a model that teaches in its own form."""
    return stock_type(folder) is not None


def _reading(folder: Path, load: Any, **settings: Any) -> Any:
    gguf = gguf_of(folder)
    if gguf and find_spec("gguf") is None:
        raise UserError(f"{folder} holds a GGUF file, which takes a package to read: pip install 'tailorbird[gguf]'.")
    try:
        return load(folder, **SAFELY, **gguf, **settings)
    except (ImportError, *UNREADABLE) as problem:
        raise unreadable(folder, problem) from None


def stock_config(folder: Path) -> Any:
    """The config in a folder; `UserError` for one that cannot be read or is of no type known here."""
    return _reading(folder, AutoConfig.from_pretrained)


def without_weights(folder: Path) -> Any:
    """The encoder or decoder in a folder as its config says, on no device."""
    config = stock_config(folder)
    try:
        with torch.device("meta"):
            return AutoModel.from_config(config, trust_remote_code=False)
    except UNREADABLE as problem:
        raise unreadable(folder, problem) from None


def check_stock(folder: Path, kind: str, recipe: Recipe | None = None) -> None:
    """Raise `UserError` where a stock model is none for a kind of task, or not known well enough for a recipe.

    To be asked before a teacher is fine-tuned.
    """
    config = stock_config(folder)
    model_type, encodes = config.model_type, config.model_type in MODEL_FOR_MASKED_LM_MAPPING_NAMES
    writes = not encodes and config.model_type in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    if config.is_encoder_decoder or not (encodes or writes):
        raise UserError(
            f"a teacher of type {model_type!r} is neither an encoder nor a decoder of texts: give a BERT, RoBERTa, "
            "MPNet or the like, or for --task causal-lm a Llama or the like."
        )
    if kind == "causal-lm" and encodes:
        raise UserError(
            f"a teacher of type {model_type!r} reads whole texts, and causal-lm needs one that writes them on: give a "
            "decoder such as a Llama, or choose --task masked-lm."
        )
    if kind != "causal-lm" and writes:
        raise UserError(
            f"a teacher of type {model_type!r} writes texts on, which teaches --task causal-lm alone: for {kind} give "
            "an encoder, such as a BERT, RoBERTa or MPNet."
        )
    if recipe is not None:
        _check_recipe(model_type, recipe)


def starts_from_teacher(recipe: Recipe) -> bool:
    """Whether students are cut from their teacher."""
    named = earlier_model(recipe.initialization) is None
    return named and find_initialization(recipe.initialization) is not random_weights


def _check_recipe(model_type: str, recipe: Recipe) -> None:
    objectives = [OBJECTIVES[term.objective] for term in recipe.terms]
    for objective in objectives:
        if isinstance(objective, LayerObjective):
            distill.stock_features.check_known(model_type, objective.wants)
    if starts_from_teacher(recipe) and model_type not in STOCK_ENCODERS:
        raise UserError(
            f"no student can be cut from a teacher of type {model_type!r}, and the recipe {recipe.name!r} starts so: "
            "choose one that starts from random weights, such as from-random."
        )


@contextmanager
def _without_report() -> Iterator[None]:
    """A head that is drawn anew is what was asked for: `transformers` need not warn of it."""
    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


def _load(folder: Path, kind: HeadKind, seed: int, **changes: Any) -> tuple[Any, bool]:
    """A model in eval mode on the CPU, in fp32, and whether all its weights came from the folder.

    Weights of a head that the folder lacks are drawn from `seed`; any other gap is a `UserError`.
    """
    if gguf_of(folder):
        # Packed weights could be neither trained nor saved.
        changes["quantization_config"] = GgufConfig(dequantize=True)
    with torch.random.fork_rng(devices=[]), _without_report():
        torch.manual_seed(seed)
        model, loading = _reading(
            folder, AUTO[kind].from_pretrained, output_loading_info=True, dtype=torch.float32, use_safetensors=True,
            ignore_mismatched_sizes=True, **changes,
        )  # fmt: skip
    gaps = sorted({*loading["missing_keys"], *(key for key, *_ in loading["mismatched_keys"])})
    own = [name for name in gaps if name.startswith(f"{model.base_model_prefix}.") and ".pooler." not in name]
    if own:
        raise UserError(f"the model in {folder} lacks weights, {own[0]} the first of {len(own)}.")
    model.train(False)
    return model, not gaps


def head_of_stock(folder: Path) -> Head:
    """The head that a stock model was saved with."""
    return Head("causal-lm") if gguf_of(folder) else saved_head(stock_config(folder).to_dict())[0]


def stock_with_head(folder: Path, head: Head, label_names: tuple[str, ...], seed: int) -> tuple[Any, bool]:
    """A stock model under `head`, and whether that is the folder's own; a new one is drawn from `seed`."""
    same = head_of_stock(folder) == head
    changes: dict[str, Any] = {}
    if not same and head.kind in LABELLED:
        names = label_names or tuple(f"LABEL_{number}" for number in range(head.labels))
        changes["id2label"] = dict(enumerate(names))
        changes["label2id"] = {name: number for number, name in enumerate(names)}
        changes["problem_type"] = PROBLEM_TYPES.get(head.kind)
    model, whole = _load(folder, head.kind, seed, **changes)
    return model, same and whole


LABELLED: tuple[HeadKind, ...] = ("classification", "regression", "tokens", "spans")
"""Kinds whose number of scores is a setting."""


def load_stock(folder: Path) -> Any:
    """A stock model with the head that `save_pretrained` left with it."""
    head, _ = saved_head(stock_config(folder).to_dict())
    model, whole = _load(folder, head.kind, 0)
    if not whole:
        raise UserError(f"the model in {folder} lacks weights of its head.")
    return model
