"""At which places of a batch a language model is asked for a word: nobody looks at its scores at all the others."""

from typing import Any

from torch import Tensor
from torch.nn import functional as F

from distill.batches import Batch
from students.causal_model import StudentForCausalLM
from students.headed import UNLABELLED, StudentForMaskedLM


def hidden_words(labels: Tensor) -> Tensor:
    """Places [B, S] of the words that are hidden: those with a label."""
    return labels != UNLABELLED


def words_before_others(mask: Tensor) -> Tensor:
    """Places [B, S] of the words that another follows; `mask` [B, S] is true, or 1, for words."""
    return F.pad(mask[:, 1:].bool(), (0, 1))


def asked_of(model: Any, batch: Batch) -> dict[str, Tensor]:
    """What to tell a student of the places that it is asked for; nothing to models that answer in another way."""
    if isinstance(model, StudentForMaskedLM):
        return {"asked": hidden_words(batch["labels"])}
    if isinstance(model, StudentForCausalLM):
        return {"asked": words_before_others(batch["attention_mask"])}
    return {}
