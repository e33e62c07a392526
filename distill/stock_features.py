"""Features of stock models, which teach in their own form.

Of every type there are answers and hidden states; of those in `students.stock_encoders.STOCK_ENCODERS` the rest too.
"""

from collections.abc import Iterable
from contextlib import ExitStack
from inspect import signature
from typing import Any

from torch import Tensor

from distill.batches import Batch
from distill.features import (
    EXTRACTORS,
    INNER,
    STOCK,
    Features,
    Layered,
    attention_scores,
    keep_output,
    logits_of,
)
from distill.forms import layers_of
from runs.errors import UserError
from students.stock_encoders import STOCK_ENCODERS, stock_layers

KNOWN_OF_ALL = frozenset({"hidden_states"})


def check_known(model_type: str, wants: Iterable[str]) -> None:
    """Raise `UserError` where `wants` asks for more than is known of a type of stock model."""
    if set(wants) - KNOWN_OF_ALL and model_type not in STOCK_ENCODERS:
        raise UserError(
            f"of a teacher of type {model_type!r} only answers and hidden states are known: choose a recipe of those, "
            f"such as from-random, or a teacher of type bert, {', '.join(STOCK_ENCODERS)}."
        )


def model_inputs(model: Any, batch: Batch) -> dict[str, Any]:
    """What a stock model's forward pass takes of a batch; token types only where it tells them apart."""
    taken = signature(model.forward).parameters
    names = ["input_ids", "attention_mask"]
    if "token_type_ids" in taken and (getattr(model.config, "type_vocab_size", None) or 0) > 1:
        names.append("token_type_ids")
    # A decoder would keep keys and values for words that nobody asks it to write.
    return {name: batch[name] for name in names} | ({"use_cache": False} if "use_cache" in taken else {})


def _position_bias(model: Any, hidden: Tensor) -> Tensor | None:
    """What MPNet adds to the scores of every layer [B, heads, S, S] for how far tokens are apart; None elsewhere."""
    compute = getattr(getattr(model.base_model, "encoder", None), "compute_position_bias", None)
    return None if compute is None else compute(hidden)


@EXTRACTORS.register(STOCK)
def stock_features(model: Any, batch: Batch, wants: frozenset[str]) -> Features:
    """Features of a stock model under a head; `UserError` for those that are not known of its type."""
    check_known(model.config.model_type, wants)
    needed = wants | ({"queries", "keys", "hidden_states"} if "attention_scores" in wants else frozenset())
    kept: dict[str, list[Tensor]] = {name: [] for name in INNER}
    with ExitStack() as hooks:
        for name in needed & set(INNER):
            place = STOCK_ENCODERS[model.config.model_type].layer[INNER[name]]
            for layer in stock_layers(model):
                handle = layer.get_submodule(place).register_forward_hook(keep_output(kept[name]))
                hooks.callback(handle.remove)
        output = model(**model_inputs(model, batch), output_hidden_states="hidden_states" in needed)
    hidden = tuple(output.hidden_states) if "hidden_states" in needed else ()
    if hidden and len(hidden) != layers_of(model) + 1:
        raise UserError(
            f"a teacher of type {model.config.model_type!r} shows {len(hidden)} hidden states for {layers_of(model)} "
            "layers, which nothing can be matched with: choose a recipe of answers alone, such as from-random."
        )
    scores: Layered = ()
    if "attention_scores" in wants:
        heads, bias = model.config.num_attention_heads, _position_bias(model, hidden[0])
        pairs = zip(kept["queries"], kept["keys"], strict=True)
        scores = tuple(attention_scores(q, k, heads) + (0.0 if bias is None else bias) for q, k in pairs)
    layered: dict[str, Any] = {name: tuple(kept[name]) if name in wants else () for name in INNER}
    shown = hidden if "hidden_states" in wants else ()
    return Features(logits_of(output), batch["attention_mask"].bool(), shown, scores, **layered)
