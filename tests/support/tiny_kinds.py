"""Tiny data of every kind of task in its usual form, and a BERT that knows its words and nothing else."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from transformers import BertConfig, BertModel, BertTokenizerFast

GOOD = ("fine", "bright", "warm", "lovely", "sharp", "alive")
BAD = ("dull", "cold", "flat", "stale", "grim", "lost")
PLAIN = ("the", "film", "was", "a", "and", "very", "scene", "it", "of", "plot")


def sentences(count: int = 400) -> list[list[str]]:
    rng = np.random.default_rng(0)
    found = []
    for number in range(count):
        words = [str(word) for word in rng.choice(PLAIN, size=int(rng.integers(4, 9)))]
        words[int(rng.integers(len(words)))] = str(rng.choice(GOOD if number % 2 else BAD))
        found.append(words)
    return found


def write(kind: str, folder: Path) -> Path:
    """A file in the usual form of each kind."""
    rows = sentences()
    texts = [" ".join(words) for words in rows]
    telling = [next(word for word in words if word in GOOD + BAD) for words in rows]
    if kind == "tokens":
        tags = [["B-good" if w in GOOD else "B-bad" if w in BAD else "O" for w in words] for words in rows]
        path = folder / "data.jsonl"
        pd.DataFrame({"tokens": rows, "tags": tags}).to_json(path, orient="records", lines=True)
    elif kind == "spans":
        path = folder / "data.json"
        articles = [
            {
                "title": f"article {n}",
                "paragraphs": [
                    {
                        "context": text,
                        "qas": [
                            {
                                "id": str(n),
                                "question": "the film was",
                                "answers": [{"text": word, "answer_start": text.index(word)}],
                            }
                        ],
                    }
                ],
            }
            for n, (text, word) in enumerate(zip(texts, telling, strict=True))
        ]
        path.write_text(json.dumps({"version": "1.1", "data": articles}))
    elif kind in ("masked-lm", "causal-lm"):
        path = folder / "data.txt"
        path.write_text("\n".join(texts))
    else:
        labels: list[Any] = ["good" if word in GOOD else "bad" for word in telling]
        if kind == "regression":
            labels = [0.5 + GOOD.index(word) if word in GOOD else -0.5 - BAD.index(word) for word in telling]
        path = folder / "data.csv"
        pd.DataFrame({"text": texts, "label": labels}).to_csv(path, index=False)
    return path


def write_bert(folder: Path) -> Path:
    """A stock BERT checkpoint with random weights, and a tokenizer that knows the task's words."""
    folder.mkdir(parents=True, exist_ok=True)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *PLAIN, *GOOD, *BAD]
    (folder / "vocab.txt").write_text("\n".join(words) + "\n")
    BertTokenizerFast(vocab=str(folder / "vocab.txt")).save_pretrained(folder)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        BertModel(
            BertConfig(
                vocab_size=len(words), hidden_size=24, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48,
                max_position_embeddings=40, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
                initializer_range=0.2,
            )
        ).save_pretrained(folder)  # fmt: skip
    return folder
