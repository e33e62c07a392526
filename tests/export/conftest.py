"""Small students and checkpoints that the tests of export share."""

from pathlib import Path

import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

from students.model import build_student
from students.spec import Head, StudentSpec, TransformerLayer

WORDS = ["good", "bad", "film", "plot", "the", "a", "very", "not", "dull", "bright"]


@pytest.fixture
def uneven_spec() -> StudentSpec:
    """Layers of three shapes, queries narrower than the hidden width, and a factorised embedding."""
    layers = (
        TransformerLayer(heads=2, qkv_width=16, ffn_width=40),
        TransformerLayer(heads=3, qkv_width=36, ffn_width=8, activation="relu"),
        TransformerLayer(heads=1, qkv_width=24, ffn_width=64, activation="silu"),
    )
    return StudentSpec(12, 24, layers, vocabulary_size=97, maximum_positions=64, head=Head("classification", 3))


def _with_lively_weights(model: torch.nn.Module) -> None:
    """Biases start at zero and scales at one, which would hide a forgotten one."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for value in model.parameters():
            value.add_(torch.randn(value.shape, generator=generator) * 0.1)


def _save_tokenizer(folder: Path) -> None:
    vocabulary = folder.parent / f"{folder.name}-vocabulary.txt"
    vocabulary.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]))
    words = {word: index for index, word in enumerate(vocabulary.read_text().split())}
    BertTokenizerFast(vocab=words).save_pretrained(folder)


@pytest.fixture
def student_folder(tmp_path: Path, uneven_spec: StudentSpec) -> Path:
    """A saved student with a tokenizer."""
    folder = tmp_path / "student"
    model = build_student(uneven_spec, label_names=("bad", "fair", "good"))
    _with_lively_weights(model)
    model.save_pretrained(folder)
    _save_tokenizer(folder)
    return folder


@pytest.fixture
def bert_folder(tmp_path: Path) -> Path:
    """A saved stock BERT classifier, without a tokenizer."""
    folder = tmp_path / "bert"
    config = BertConfig(
        vocab_size=80,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=48,
        max_position_embeddings=40,
        num_labels=2,
    )
    model = BertForSequenceClassification(config)
    _with_lively_weights(model)
    model.save_pretrained(folder)
    return folder
