"""Features of stock encoders, which teach in their own form: where each keeps its layers, projections and attention."""

from contextlib import ExitStack
from dataclasses import dataclass
from inspect import signature
from typing import Any

from torch import Tensor, nn

from distill.batches import Batch
from distill.features import EXTRACTORS, INNER, Features, Layered, attention_scores, keep_output, logits_of
from runs.errors import UserError


@dataclass(frozen=True)
class Inside:
    """Names of modules: the layers under the encoder, and in each layer the projections and where attention ends."""

    layers: str = "encoder.layer"
    query: str = "attention.self.query"
    key: str = "attention.self.key"
    value: str = "attention.self.value"
    attention_norm: str = "attention.output"


BERT_LIKE = Inside()
INSIDES = {
    "bert": BERT_LIKE,
    "roberta": BERT_LIKE,
    "xlm-roberta": BERT_LIKE,
    "camembert": BERT_LIKE,
    "electra": BERT_LIKE,
    "mpnet": Inside(
        query="attention.attn.q",
        key="attention.attn.k",
        value="attention.attn.v",
        attention_norm="attention.LayerNorm",
    ),
    "distilbert": Inside("transformer.layer", "attention.q_lin", "attention.k_lin", "attention.v_lin", "sa_layer_norm"),
}
"""Model type → where things are; all of them have one width and one number of heads throughout."""

INPUTS = ("input_ids", "attention_mask", "token_type_ids")


def stock_layers(model: Any) -> nn.ModuleList:
    """The layers of a stock encoder under whatever head; `UserError` for a type that is not in `INSIDES`."""
    kind = model.config.model_type
    if kind not in INSIDES:
        raise UserError(
            f"the inside of a {kind!r} teacher is not known, only its answers: choose a recipe of logits and labels, "
            f"or a teacher of type {', '.join(INSIDES)}."
        )
    layers = model.base_model.get_submodule(INSIDES[kind].layers)
    assert isinstance(layers, nn.ModuleList)
    return layers


def _position_bias(model: Any, hidden: Tensor) -> Tensor | None:
    """What MPNet adds to the scores of every layer [B, heads, S, S] for how far tokens are apart; None elsewhere."""
    encoder = getattr(model.base_model, "encoder", None)
    compute = getattr(encoder, "compute_position_bias", None)
    return None if compute is None else compute(hidden)


def stock_features(model: Any, batch: Batch, wants: frozenset[str]) -> Features:
    """Features of a stock model with a classifier; what its forward pass does not take of a batch is left out."""
    needed = wants | ({"queries", "keys", "hidden_states"} if "attention_scores" in wants else frozenset())
    kept: dict[str, list[Tensor]] = {name: [] for name in INNER}
    with ExitStack() as hooks:
        for name in needed & set(INNER):
            place = getattr(INSIDES[model.config.model_type], INNER[name]) if stock_layers(model) else ""
            for layer in stock_layers(model):
                handle = layer.get_submodule(place).register_forward_hook(keep_output(kept[name]))
                hooks.callback(handle.remove)
        taken = signature(model.forward).parameters
        inputs = {name: batch[name] for name in INPUTS if name in taken}
        output = model(**inputs, output_hidden_states="hidden_states" in needed)
    scores: Layered = ()
    if "attention_scores" in wants:
        heads = model.config.num_attention_heads
        bias = _position_bias(model, output.hidden_states[0])
        pairs = zip(kept["queries"], kept["keys"], strict=True)
        scores = tuple(attention_scores(q, k, heads) for q, k in pairs)
        if bias is not None:
            scores = tuple(one + bias for one in scores)
    layered = {name: tuple(kept[name]) if name in wants else () for name in INNER}
    hidden = tuple(output.hidden_states) if "hidden_states" in wants else ()
    return Features(logits_of(output), batch["attention_mask"].bool(), hidden, scores, **layered)


for _kind in INSIDES:
    EXTRACTORS.register(_kind)(stock_features)
