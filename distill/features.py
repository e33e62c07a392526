"""What a teacher shows and a student imitates, taken out of a model while it runs."""

import math
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from distill.asked_words import asked_of
from distill.batches import Batch
from runs.errors import UserError
from runs.registry import Registry
from students.model import StudentConfig, encoder_of
from students.spec import BottleneckLayer, StudentSpec, TransformerLayer

Layered = tuple[Tensor, ...]

INNER = {"queries": "query", "keys": "key", "values": "value", "attention_outputs": "attention_norm"}
"""Feature of a layer → the module of our own form whose output it is."""


@dataclass(frozen=True)
class Features:
    """One batch seen from inside. Layered features have one tensor a layer; those not asked for are empty.

    logits [B, labels] of a text, [B, S, labels] of tokens, [places, words] of the words that are asked for where a
    model leaves out the rest; hidden_states: embedding output and each layer's, [B, S, h]; attention_scores: before the
    softmax and without mask, [B, heads, S, S]; queries, keys, values: [B, S, q]; attention_outputs: after the
    attention's residual and norm, [B, S, w], w the hidden width or a bottleneck's; mask [B, S], True for a token and
    False for padding; causal: whether a token sees none that come after it.
    """

    logits: Tensor
    mask: Tensor
    hidden_states: Layered = ()
    attention_scores: Layered = ()
    queries: Layered = ()
    keys: Layered = ()
    values: Layered = ()
    attention_outputs: Layered = ()
    causal: bool = False


def feature_widths(spec: StudentSpec, name: str) -> tuple[int, ...]:
    """Channels of a feature (`hidden_states` or `attention_outputs`), of the embedding first and then of each layer."""
    hidden = spec.hidden_width
    if name == "hidden_states":
        return (hidden,) * (len(spec.layers) + 1)
    inner = (layer.bottleneck_width if isinstance(layer, BottleneckLayer) else hidden for layer in spec.layers)
    return (hidden, *inner)


def logits_of(output: Any) -> Tensor:
    """Logits of any head's output; the two scores a token of question answering as [B, S, 2]."""
    if "start_logits" in output:
        return torch.stack((output.start_logits, output.end_logits), dim=-1)
    logits: Tensor = output.logits
    return logits


Extractor = Callable[[Any, Batch, frozenset[str]], Features]

EXTRACTORS: Registry[Extractor] = Registry("model type with features")
"""`config.model_type`, or `STOCK` → a function of (model, batch, wanted names)."""

STOCK = "stock"
"""Whatever type has no extractor of its own; `distill.stock_features` registers it."""


def keep_output(into: list[Tensor]) -> Callable[[nn.Module, Any, Tensor], None]:
    """A forward hook that appends what a module gives."""

    def hook(module: nn.Module, inputs: Any, output: Tensor) -> None:
        into.append(output)

    return hook


def split_heads(projected: Tensor, heads: int) -> Tensor:
    """[B, S, q] → [B, heads, S, q / heads]."""
    batch, length, width = projected.shape
    return projected.view(batch, length, heads, width // heads).transpose(1, 2)


def attention_scores(query: Tensor, key: Tensor, heads: int) -> Tensor:
    """Q·Kᵀ/√d of [B, S, q] each → [B, heads, S, S]."""
    width = query.shape[-1] // heads
    return split_heads(query, heads) @ split_heads(key, heads).transpose(-1, -2) / math.sqrt(width)


def require_attention(spec: StudentSpec, wants: frozenset[str]) -> None:
    """Raise `UserError` where a layer has none of the attention that is asked for."""
    for place, layer in enumerate(spec.layers):
        if wants & {*INNER, "attention_scores"} and not isinstance(layer, TransformerLayer | BottleneckLayer):
            raise UserError(
                f"layer {place} of this model is of type {layer.type} and has no attention to compare: choose a recipe "
                "of logits and hidden states only."
            )


@EXTRACTORS.register(StudentConfig.model_type)
def student_features(model: Any, batch: Batch, wants: frozenset[str]) -> Features:
    """Features of our own student form, which teachers take too."""
    encoder = encoder_of(model)
    needed = wants | ({"queries", "keys"} if "attention_scores" in wants else frozenset())
    layers = model.config.spec_object.layers
    require_attention(model.config.spec_object, needed)
    kept: dict[str, list[Tensor]] = {name: [] for name in INNER}
    with ExitStack() as hooks:
        for name in needed & set(INNER):
            for layer in encoder.layers:
                handle = getattr(layer, INNER[name]).register_forward_hook(keep_output(kept[name]))
                hooks.callback(handle.remove)
        output = model(
            batch["input_ids"],
            batch["attention_mask"],
            batch["token_type_ids"],
            **asked_of(model, batch),
            # A model that is only asked for logits leaves out what they do not need.
            output_hidden_states=bool(needed & {"hidden_states", *INNER}),
        )
    scores: Layered = ()
    if "attention_scores" in wants:
        heads = [layer.heads for layer in layers]
        scores = tuple(attention_scores(q, k, n) for q, k, n in zip(kept["queries"], kept["keys"], heads, strict=True))
    layered: dict[str, Any] = {name: tuple(kept[name]) if name in wants else () for name in INNER}
    hidden = output.hidden_states if "hidden_states" in wants else ()
    return Features(logits_of(output), batch["attention_mask"].bool(), hidden, scores, **layered)


def extract(model: Any, batch: Batch, wants: frozenset[str]) -> Features:
    """Run `model` on a batch and take the wanted features (names of `Features`' fields; logits always come).

    Raises `UserError` for what is not known of a model of this type.
    """
    kind = model.config.model_type
    return EXTRACTORS[kind if kind in EXTRACTORS else STOCK](model, batch, wants)


def no_gradient_features(model: Any, batch: Batch, wants: frozenset[str]) -> Features:
    """The teacher's side: no graph is kept."""
    with torch.no_grad():
        return extract(model, batch, wants)
