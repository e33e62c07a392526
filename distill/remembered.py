"""What a language model makes of texts that come again, kept in memory for as long as there is room.

Scores of all words would fill the memory with some thousand words of text; what the model's last layer makes them of is
a hundredth of that, and the layer a small part of the model's work.
"""

from collections.abc import Callable
from hashlib import sha256
from typing import Any

import psutil
import torch
from torch import Tensor, nn

from distill.batches import Batch
from distill.features import no_gradient_features
from students.model import StudentPreTrainedModel, encoder_of

MOST_BYTES = 4 * 2**30
MOST_SHARE = 0.25
"""Of the memory that is free when the first text comes."""

OF_A_TEXT = ("input_ids", "attention_mask", "token_type_ids", "labels")

TOLERANCE = 1e-3
"""How far a model's answers may be from what its last layer makes, as a share of the largest, before it is held to do
more with them than that."""


def last_layer(model: Any) -> tuple[nn.Module, Callable[[Tensor], Tensor]] | None:
    """The module that makes scores of words [..., V] of hidden states [..., h], and how to call it with those alone;
    None where a stock model names none."""
    if isinstance(model, StudentPreTrainedModel):
        head: Any = model.head
        return head, lambda hidden: head(hidden, encoder_of(model).embeddings.word.weight)
    module = model.get_output_embeddings()
    return None if module is None else (module, module)


def _texts(batch: Batch) -> list[Batch]:
    """Each text of a batch alone, without its padding: what is made of it depends on no other."""
    lengths = batch["attention_mask"].sum(dim=1).tolist()
    return [
        {name: batch[name][row : row + 1, :length] for name in OF_A_TEXT if name in batch}
        for row, length in enumerate(lengths)
    ]


class Remembered:
    """Hidden states by text; where they no longer fit the model is run again, with the same outcome.

    They are kept on the CPU, whatever device the model is on.
    """

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._left: int | None = None
        self._hidden: dict[bytes, Tensor] = {}
        self._nothing_after: bool | None = None

    @torch.no_grad()
    def answers(self, model: Any, batch: Batch, asked: Tensor) -> Tensor:
        """The model's scores of all words at the places `asked`, bool [B, S] → [places, V], without gradients."""
        layer = None if self._nothing_after is False else last_layer(model)
        if layer is None:
            return _at(no_gradient_features(model, batch, frozenset()).logits, asked)
        texts = _texts(batch)
        places = [where[None, : text["input_ids"].shape[1]] for where, text in zip(asked, texts, strict=True)]
        if self._nothing_after is None:
            self._nothing_after = _makes_all(model, layer, texts[0], places[0])
            return self.answers(model, batch, asked)
        found = [self._of(model, layer[0], *both) for both in zip(texts, places, strict=True)]
        return layer[1](torch.cat([hidden.to(asked.device) for hidden in found]))

    def _of(self, model: Any, module: nn.Module, text: Batch, asked: Tensor) -> Tensor:
        mark = sha256()
        for tensor in (*text.values(), asked):
            mark.update(tensor.cpu().numpy().tobytes())
        key = mark.digest()
        if key in self._hidden:
            return self._hidden[key]
        hidden, _ = _seen(model, module, text, asked)
        if self._left is None:
            self._left = min(self._most_bytes, round(MOST_SHARE * psutil.virtual_memory().available))
        size = hidden.numel() * hidden.element_size()
        if size <= self._left:
            self._left -= size
            self._hidden[key] = hidden.cpu()
        return hidden


def _at(values: Tensor, asked: Tensor) -> Tensor:
    """[places, n] of [B, S, n], or as it is where a model left out the rest itself."""
    return values if values.dim() == 2 else values[asked]


def _seen(model: Any, module: nn.Module, text: Batch, asked: Tensor) -> tuple[Tensor, Tensor]:
    """What a model's last layer was given at the places `asked` [places, h], and its scores there [places, V]."""
    given: list[Tensor] = []
    hook = module.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
    try:
        logits = no_gradient_features(model, text, frozenset()).logits
    finally:
        hook.remove()
    return _at(given[0], asked), _at(logits, asked)


def _makes_all(model: Any, layer: tuple[nn.Module, Callable[[Tensor], Tensor]], text: Batch, asked: Tensor) -> bool:
    """Whether the last layer's scores are the model's answers; some models scale or bound them afterwards."""
    hidden, logits = _seen(model, layer[0], text, asked)
    if not len(hidden):
        return True
    return bool((layer[1](hidden) - logits).abs().max() <= TOLERANCE * logits.abs().max())
