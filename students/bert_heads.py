"""BERT's heads and ours: which stock class answers what a head kind answers, and what its weights are called there."""

from dataclasses import dataclass
from typing import Any, get_args

from torch import nn
from transformers import (
    BertForMaskedLM,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
    BertLMHeadModel,
    BertModel,
    BertPreTrainedModel,
)

from runs.registry import Registry
from students.heads import SPAN_ENDS, Head, HeadKind


@dataclass(frozen=True)
class BertHead:
    """A stock model class and, by our name under `head.`, what each weight is called in it."""

    model: Any
    names: dict[str, str]
    named_labels: bool = False
    """Whether labels have names that users see."""


def _linear(ours: str, theirs: str) -> dict[str, str]:
    return {f"{ours}.{part}": f"{theirs}.{part}" for part in ("weight", "bias")}


POOLER = _linear("pooler", "bert.pooler.dense")
"""The part that a `BertModel` may have as well."""

_CLASSIFIER = _linear("classifier", "classifier")
_LANGUAGE = {
    **_linear("transform", "cls.predictions.transform.dense"),
    **_linear("norm", "cls.predictions.transform.LayerNorm"),
    "bias": "cls.predictions.bias",
}

BERT_HEADS: Registry[BertHead] = Registry("head of stock BERT")
"""Head kind → stock BERT with such a head."""
BERT_HEADS.register("none")(BertHead(BertModel, {}))
BERT_HEADS.register("classification")(BertHead(BertForSequenceClassification, POOLER | _CLASSIFIER, named_labels=True))
BERT_HEADS.register("regression")(BertHead(BertForSequenceClassification, POOLER | _CLASSIFIER, named_labels=True))
BERT_HEADS.register("tokens")(BertHead(BertForTokenClassification, _CLASSIFIER, named_labels=True))
BERT_HEADS.register("spans")(BertHead(BertForQuestionAnswering, _linear("classifier", "qa_outputs")))
BERT_HEADS.register("masked-lm")(BertHead(BertForMaskedLM, _LANGUAGE))
BERT_HEADS.register("causal-lm")(BertHead(BertLMHeadModel, _LANGUAGE))

LANGUAGE_MODELS = ("masked-lm", "causal-lm")
"""Kinds whose heads have the same weights."""


def head_of_bert(model: BertPreTrainedModel) -> Head:
    """The head that a stock model has; `none` for a `BertModel`."""
    kind: HeadKind = next(kind for kind in get_args(HeadKind) if isinstance(model, BERT_HEADS[kind].model))
    if not BERT_HEADS[kind].named_labels:
        return Head(kind, SPAN_ENDS)
    labels = int(model.config.num_labels or 1)
    return Head("regression", 1) if kind == "classification" and labels == 1 else Head(kind, labels)


def shared_names(wanted: Head, own: Head) -> dict[str, str]:
    """Our names → theirs of the weights that a student with the head `wanted` takes from a BERT with the head `own`.

    All where the heads are alike, and a pooler from wherever there is one.
    """
    alike = wanted == own or {wanted.kind, own.kind} <= set(LANGUAGE_MODELS)
    names = BERT_HEADS[wanted.kind].names
    return names if alike else {ours: theirs for ours, theirs in names.items() if ours in POOLER}


def named_weights(model: BertPreTrainedModel) -> dict[str, nn.Parameter]:
    """Every weight of a stock model by its name under a model with a head, tied ones under each of their names."""
    prefix = "bert." if isinstance(model, BertModel) else ""
    return {prefix + name: weight for name, weight in model.named_parameters(remove_duplicate=False)}
