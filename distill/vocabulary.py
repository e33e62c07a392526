"""Training with the words of the data alone: rows of the word embeddings that no batch reads are left out meanwhile.

A row that is never read has no gradient, and carries no weight decay here, so nothing is learnt otherwise; a step is
spared the pass over tens of thousands of rows that an optimizer makes of them.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from distill.batches import Encoded
from runs.errors import UserError
from runs.registry import unknown_name
from students.bert_heads import LANGUAGE_MODELS
from students.head_modules import LanguageHeadModule
from students.model import StudentPreTrainedModel, encoder_of


def used_words(splits: Iterable[Encoded]) -> npt.NDArray[np.int64]:
    """Numbers of the words that the splits have, and of padding, ascending."""
    found = [np.unique(one.ids) for one in splits]
    padding = [np.array([one.padding_id]) for one in splits]
    return np.unique(np.concatenate([*found, *padding])).astype(np.int64)


def renumbered(encoded: Encoded, words: npt.NDArray[np.int64]) -> Encoded:
    """The same texts with each word's place in `words` for its number."""
    ids = np.searchsorted(words, encoded.ids).astype(encoded.ids.dtype)
    padding = int(np.searchsorted(words, encoded.padding_id))
    return replace(encoded, ids=ids, padding_id=padding)


def _with_rows(model: StudentPreTrainedModel, rows: Tensor) -> None:
    word = encoder_of(model).embeddings.word
    table = nn.Embedding(len(rows), rows.shape[1], device=rows.device, dtype=rows.dtype)
    table.weight = nn.Parameter(rows, requires_grad=word.weight.requires_grad)
    encoder_of(model).embeddings.word = table


@dataclass(frozen=True, eq=False)
class LeftOut:
    """The whole table [vocabulary, width] that a model had, and which of its rows the model has now."""

    table: Tensor
    words: Tensor

    def restore(self, model: StudentPreTrainedModel) -> None:
        """Give the model its whole table back, with the rows it has now as they are now."""
        rows = encoder_of(model).embeddings.word.weight.detach()
        table = self.table.to(rows.device).clone()
        table[self.words.to(rows.device)] = rows
        _with_rows(model, table)


def leave_out_others(model: StudentPreTrainedModel, words: npt.NDArray[np.int64]) -> LeftOut:
    """Cut the model's word embeddings down to the rows `words`, in place; its spec goes on naming the whole."""
    table = encoder_of(model).embeddings.word.weight.detach().clone()
    kept = torch.from_numpy(words).to(table.device)
    _with_rows(model, table[kept].clone())
    return LeftOut(table, kept)


@dataclass(frozen=True, eq=False)
class _OwnNumbers:
    """Has a stock teacher, which keeps its whole table, read renumbered words by the numbers that it knows them by."""

    numbers: Tensor

    def __call__(self, module: nn.Module, inputs: Any, named: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        ids = named["input_ids"]
        return inputs, named | {"input_ids": self.numbers.to(ids.device)[ids]}


Renumber = Callable[[Encoded], Encoded]

OF_WORDS = "a language model answers with words, so none can be left out"

VOCABULARIES = ("auto", "all", "data")
"""`auto` is `data` wherever that is possible: what is learnt is the same up to rounding."""


def check_vocabulary(vocabulary: str, kind: str = "") -> None:
    """Raise `UserError` for a name that is none, or not for a kind of task; to be asked before anything is written."""
    if vocabulary not in VOCABULARIES:
        raise unknown_name("vocabulary", vocabulary, list(VOCABULARIES))
    if vocabulary == "data" and kind in LANGUAGE_MODELS:
        raise UserError(f"{OF_WORDS}: choose the vocabulary 'all'.")


def _why_not(models: Sequence[Any]) -> str:
    """Why no word can be left out; empty where some can."""
    if not any(isinstance(model, StudentPreTrainedModel) for model in models):
        return "a teacher in its own form keeps all its words"
    if any(isinstance(getattr(model, "head", None), LanguageHeadModule) for model in models):
        return OF_WORDS
    return ""


@contextmanager
def trained_words(vocabulary: str, models: Sequence[Any], splits: Sequence[Encoded]) -> Iterator[Renumber]:
    """While it lasts, models have the rows of the words in `splits` alone (`data`), or all (`all`; see `VOCABULARIES`).

    What is given renumbers a split for them. Raises `UserError` for models whose answers are words.
    """
    check_vocabulary(vocabulary)
    why_not = _why_not(models)
    if vocabulary == "all" or (vocabulary == "auto" and why_not):
        yield lambda split: split
        return
    if why_not:
        raise UserError(f"{why_not}: choose the vocabulary 'all'.")
    words = used_words(splits)
    cut = [(model, leave_out_others(model, words)) for model in models if isinstance(model, StudentPreTrainedModel)]
    stock = [model for model in models if not isinstance(model, StudentPreTrainedModel)]
    numbers = _OwnNumbers(torch.from_numpy(words))
    told = [model.register_forward_pre_hook(numbers, with_kwargs=True) for model in stock]
    try:
        yield lambda split: renumbered(split, words)
    finally:
        for model, left_out in cut:
            left_out.restore(model)
        for handle in told:
            handle.remove()
