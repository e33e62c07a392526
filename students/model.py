"""Students as `transformers` models: built from a spec, saved and loaded, re-headed, and known to the Auto classes."""

from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
)

from runs.errors import UserError
from runs.files import read_json
from runs.registry import Registry
from students.causal_model import StudentForCausalLM as StudentForCausalLM
from students.encoder import StudentConfig as StudentConfig
from students.encoder import StudentModel as StudentModel
from students.encoder import StudentPreTrainedModel as StudentPreTrainedModel
from students.head_modules import LanguageHeadModule
from students.headed import StudentForMaskedLM as StudentForMaskedLM
from students.headed import StudentForQuestionAnswering as StudentForQuestionAnswering
from students.headed import StudentForSequenceClassification as StudentForSequenceClassification
from students.headed import StudentForTokenClassification as StudentForTokenClassification
from students.headed import StudentWithHead
from students.layers import HeadModule
from students.reading import UNREADABLE, unreadable
from students.spec import Head, StudentSpec

MODEL_CLASSES: Registry[type[StudentPreTrainedModel]] = Registry("head")
"""Head kind → the class of a student with it."""
MODEL_CLASSES.register("none")(StudentModel)

AutoConfig.register(StudentConfig.model_type, StudentConfig)
AutoModel.register(StudentConfig, StudentModel)

AUTO_CLASSES: tuple[tuple[Any, type[StudentWithHead]], ...] = (
    (AutoModelForSequenceClassification, StudentForSequenceClassification),
    (AutoModelForTokenClassification, StudentForTokenClassification),
    (AutoModelForQuestionAnswering, StudentForQuestionAnswering),
    (AutoModelForMaskedLM, StudentForMaskedLM),
    (AutoModelForCausalLM, StudentForCausalLM),
)
for _auto_class, _model_class in AUTO_CLASSES:
    _auto_class.register(StudentConfig, _model_class)
    for _kind in _model_class.kinds:
        MODEL_CLASSES.register(_kind)(_model_class)


def build_student(
    spec: StudentSpec, seed: int = 0, *, label_names: tuple[str, ...] | None = None, dropout: float = 0.0
) -> StudentPreTrainedModel:
    """A student in eval mode with BERT's random weights, the same for the same seed; torch's own seed is left alone.

    Its class is the head kind's in `MODEL_CLASSES`. `label_names` go into the config; another number of them than the
    head's labels raises `UserError`.
    """
    names = None if label_names is None else dict(enumerate(label_names))
    if names is not None and len(names) != spec.head.labels:
        raise UserError(f"{len(names)} label names were given for a head of {spec.head.labels} labels.")
    config = StudentConfig(spec=spec.to_json(), dropout=dropout)
    if names is not None:
        config.id2label, config.label2id = names, {name: n for n, name in names.items()}
    model_class = model_class_of(spec)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = model_class(config)
    model.train(False)
    return model


def model_class_of(spec: StudentSpec) -> type[StudentPreTrainedModel]:
    """The class that fits the spec's head."""
    return MODEL_CLASSES[spec.head.kind]


def encoder_of(model: StudentPreTrainedModel) -> StudentModel:
    """The `StudentModel` inside a student of any kind."""
    encoder = model.base_model
    assert isinstance(encoder, StudentModel)
    return encoder


def with_head(
    model: StudentPreTrainedModel, head: Head, seed: int = 0, *, label_names: tuple[str, ...] | None = None
) -> StudentPreTrainedModel:
    """A copy of the student that ends in `head`.

    Between heads of one make the old pooler, or a language model's transform, is kept; a classifier is drawn anew from
    `seed`.
    """
    spec = replace(model.config.spec_object, head=head)
    result = build_student(spec, seed, label_names=label_names, dropout=model.config.dropout)
    encoder_of(result).load_state_dict(encoder_of(model).state_dict())
    if isinstance(model, StudentWithHead) and isinstance(result, StudentWithHead):
        _keep_head(model.head, result.head)
    return result


def _keep_head(old: nn.Module, new: nn.Module) -> None:
    if isinstance(old, HeadModule) and isinstance(new, HeadModule):
        new.pooler.load_state_dict(old.pooler.state_dict())
    elif isinstance(old, LanguageHeadModule) and isinstance(new, LanguageHeadModule):
        new.load_state_dict(old.state_dict())


def load_student(folder: str | PathLike[str]) -> StudentPreTrainedModel:
    """The student that `save_pretrained` left in `folder`, in eval mode; raises `UserError` where there is none."""
    path = Path(folder)
    settings = read_json(path / "config.json", "student's config")
    if settings.get("model_type") != StudentConfig.model_type:
        raise UserError(f"{path} holds a {settings.get('model_type')!r} model, not a student.")
    try:
        StudentSpec.from_json(settings.get("spec"))
    except UserError as problem:
        raise UserError(f"the config.json in {path} makes no model: {problem}") from None
    try:
        config = StudentConfig.from_pretrained(path)
        loader: Any = model_class_of(config.spec_object)
        model, loading = loader.from_pretrained(path, config=config, output_loading_info=True, use_safetensors=True)
    except UNREADABLE as problem:
        raise unreadable(path, problem) from None
    if loading["missing_keys"]:
        raise UserError(f"the student in {path} lacks weights, {sorted(loading['missing_keys'])[0]} the first of them.")
    student: StudentPreTrainedModel = model.train(False)
    return student
