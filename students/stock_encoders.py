"""Stock encoders of BERT's block as students: copies that a student can be cut from, for whatever our form can say.

What it cannot say is left out: MPNet's bias for how far two tokens are apart, and a norm's epsilon other than 1e-12. So
a copy answers as its original does for RoBERTa, XLM-RoBERTa, CamemBERT and ELECTRA but for that epsilon, for DistilBERT
to rounding, and for MPNet only roughly. A classifier is copied where it is dense, tanh, dense over the first token, as
of RoBERTa and MPNet; ELECTRA's and DistilBERT's have another activation, and the copy's is drawn anew.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from runs.errors import UserError
from runs.registry import Registry
from students.bert import EMBEDDING_NAMES, LAYER_NAMES
from students.headed import StudentWithHead
from students.heads import Head, HeadKind
from students.model import StudentPreTrainedModel, build_student, encoder_of
from students.spec import StudentSpec, uniform_spec
from students.stock import ACTIVATIONS

HeadNames = Mapping[HeadKind, Mapping[str, str]]
"""Head kind → our names of parameters under `head.` → theirs."""


def _both(ours: str, theirs: str) -> dict[str, str]:
    return {f"{ours}.{part}": f"{theirs}.{part}" for part in ("weight", "bias")}


def _words(transform: str, norm: str, bias: str) -> HeadNames:
    return {"masked-lm": {**_both("transform", transform), **_both("norm", norm), "bias": bias}}


EACH_TOKEN: HeadNames = {"tokens": _both("classifier", "classifier"), "spans": _both("classifier", "qa_outputs")}
_pooled = {**_both("pooler", "classifier.dense"), **_both("classifier", "classifier.out_proj")}
POOLED: HeadNames = {"classification": _pooled, "regression": _pooled}


@dataclass(frozen=True)
class StockEncoder:
    """What one model type calls its modules: `layers` under the base model, `layer` in each (our name → theirs)."""

    layers: str = "encoder.layer"
    layer: Mapping[str, str] = field(default_factory=lambda: LAYER_NAMES)
    heads: HeadNames = field(default_factory=dict)


STOCK_ENCODERS: Registry[StockEncoder] = Registry("type of stock encoder")
"""`config.model_type` → where things are; all of them have one width and one number of heads throughout."""
_roberta = StockEncoder(heads={**POOLED, **EACH_TOKEN, **_words("lm_head.dense", "lm_head.layer_norm", "lm_head.bias")})
for _name in ("roberta", "xlm-roberta", "camembert"):
    STOCK_ENCODERS.register(_name)(_roberta)
STOCK_ENCODERS.register("electra")(
    StockEncoder(
        heads={
            **EACH_TOKEN,
            **_words("generator_predictions.dense", "generator_predictions.LayerNorm", "generator_lm_head.bias"),
        }
    )
)
STOCK_ENCODERS.register("mpnet")(
    StockEncoder(
        layer={
            **LAYER_NAMES,
            "query": "attention.attn.q",
            "key": "attention.attn.k",
            "value": "attention.attn.v",
            "output": "attention.attn.o",
            "attention_norm": "attention.LayerNorm",
        },
        heads=_roberta.heads,
    )
)
STOCK_ENCODERS.register("distilbert")(
    StockEncoder(
        "transformer.layer",
        {
            "query": "attention.q_lin",
            "key": "attention.k_lin",
            "value": "attention.v_lin",
            "output": "attention.out_lin",
            "attention_norm": "sa_layer_norm",
            "expand": "ffn.lin1",
            "contract": "ffn.lin2",
            "ffn_norm": "output_layer_norm",
        },
        {**EACH_TOKEN, **_words("vocab_transform", "vocab_layer_norm", "vocab_projector.bias")},
    )
)


def stock_layers(model: Any) -> nn.ModuleList:
    """The layers of a stock encoder of a known type, under whatever head."""
    layers = model.base_model.get_submodule(STOCK_ENCODERS[model.config.model_type].layers)
    assert isinstance(layers, nn.ModuleList)
    return layers


def first_position(model: Any) -> int:
    """The row of the position table that the first token reads: behind padding's own in tables that have one."""
    for name, module in model.named_modules():
        if name.endswith("position_embeddings"):
            padding = getattr(module, "padding_idx", None)
            return 0 if padding is None else int(padding) + 1
    return 0


def form_of(model: Any, head: Head, token_types: int, maximum_positions: int) -> StudentSpec:
    """The spec of `student_form`, for which a model without weights will do; it raises the same."""
    config, names = model.config, STOCK_ENCODERS[model.config.model_type]
    activation = config.activation if config.model_type == "distilbert" else config.hidden_act
    if activation not in ACTIVATIONS:
        raise UserError(f"this {config.model_type} has the activation {activation!r}, which a student cannot have.")
    first = stock_layers(model)[0]
    return uniform_spec(
        config.num_hidden_layers,
        config.hidden_size,
        config.num_attention_heads,
        first.get_submodule(names.layer["expand"]).out_features,  # type: ignore[arg-type]
        activation=ACTIVATIONS[activation],
        embedding_width=getattr(config, "embedding_size", config.hidden_size),
        vocabulary_size=config.vocab_size,
        maximum_positions=maximum_positions,
        token_types=token_types,
        head=head,
    )


def student_form(
    model: Any, head: Head, token_types: int, maximum_positions: int, seed: int = 0
) -> StudentPreTrainedModel:
    """A copy of a stock encoder under `head`, which is its own, as a student with so many token types and positions.

    Token types that the encoder does not have are as its first one. What of the head cannot be copied is drawn from
    `seed`. Raises `UserError` for a type that is not in `STOCK_ENCODERS` or a setting that no student can have.
    """
    names = STOCK_ENCODERS[model.config.model_type]
    student = build_student(form_of(model, head, token_types, maximum_positions), seed)
    encoder = encoder_of(student)
    with torch.no_grad():
        _copy_embeddings(encoder.embeddings, model)
        for target, source in zip(encoder.layers, stock_layers(model), strict=True):
            for ours, theirs in names.layer.items():
                target.get_submodule(ours).load_state_dict(source.get_submodule(theirs).state_dict())
        if isinstance(student, StudentWithHead):
            for ours, theirs in names.heads.get(head.kind, {}).items():
                student.head.get_parameter(ours).copy_(model.get_parameter(theirs))
    return student


def _copy_embeddings(target: Any, model: Any) -> None:
    source = model.base_model.embeddings
    start, most = first_position(model), target.position.num_embeddings
    target.word.load_state_dict(source.get_submodule(EMBEDDING_NAMES["word"]).state_dict())
    target.norm.load_state_dict(source.get_submodule(EMBEDDING_NAMES["norm"]).state_dict())
    target.position.weight.copy_(source.get_submodule(EMBEDDING_NAMES["position"]).weight[start : start + most])
    types = getattr(source, EMBEDDING_NAMES["token_type"], None)
    if types is None:
        target.token_type.weight.zero_()
    else:
        target.token_type.weight.copy_(types.weight[0].expand_as(target.token_type.weight))
        target.token_type.weight[: types.num_embeddings] = types.weight[: target.token_type.num_embeddings]
    if target.projection is not None:
        target.projection.load_state_dict(model.base_model.embeddings_project.state_dict())
