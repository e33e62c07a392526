"""Tiny checkpoints of real architectures with random weights, and a tokenizer that knows a few words."""

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    DebertaV2Config,
    DebertaV2Model,
    DistilBertConfig,
    DistilBertModel,
    ElectraConfig,
    ElectraModel,
    LlamaConfig,
    LlamaForCausalLM,
    MPNetConfig,
    MPNetModel,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaModel,
)

MARKS = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
SIZES: dict[str, Any] = {
    "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48,
    "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0,
}  # fmt: skip
DISTILBERT: dict[str, Any] = {"dim": 24, "n_layers": 2, "n_heads": 4, "hidden_dim": 48, "dropout": 0.0}
ALL: dict[str, Any] = {"initializer_range": 0.2, "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}
EXACT = {"layer_norm_eps": 1e-12}
"""The epsilon of our norms, where a type can be told it."""

MODELS: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "mpnet": (MPNetModel, MPNetConfig, {**SIZES, "max_position_embeddings": 42, **EXACT}),
    "roberta": (RobertaModel, RobertaConfig, {**SIZES, "max_position_embeddings": 42, "type_vocab_size": 1, **EXACT}),
    "electra": (ElectraModel, ElectraConfig, {**SIZES, "embedding_size": 16, "max_position_embeddings": 40}),
    "distilbert": (DistilBertModel, DistilBertConfig, {**DISTILBERT, "max_position_embeddings": 40}),
    "deberta-v2": (DebertaV2Model, DebertaV2Config, {**SIZES, "max_position_embeddings": 40}),
    "llama": (
        LlamaForCausalLM,
        LlamaConfig,
        {
            "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
            "intermediate_size": 48, "max_position_embeddings": 1000, "tie_word_embeddings": True,
        },
    ),
}  # fmt: skip


def stock_tokenizer(words: tuple[str, ...]) -> Any:
    """One token a word, between <s> and </s>, numbered as RoBERTa's marks are."""
    numbers = {word: number for number, word in enumerate((*MARKS, *words))}
    tokenizer = Tokenizer(models.WordLevel(numbers, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    named = {"bos": "<s>", "cls": "<s>", "pad": "<pad>", "eos": "</s>", "sep": "</s>", "unk": "<unk>", "mask": "<mask>"}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **{f"{key}_token": mark for key, mark in named.items()})


def write_stock(kind: str, folder: Path, words: tuple[str, ...], model_class: Any = None, **settings: Any) -> Path:
    """A checkpoint of type `kind`, by default of its encoder or decoder without a head for a task."""
    stock, config, sizes = MODELS[kind]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = config(vocab_size=len(MARKS) + len(words), **{**ALL, **sizes, **settings})
        (model_class or stock)(made).save_pretrained(folder)
    stock_tokenizer(words).save_pretrained(folder)
    return folder
