"""A world in which a whole search takes seconds: tiny data, a tiny teacher, a tiny space, a device made by formula."""

import csv
import json
import shutil
from dataclasses import replace
from functools import cache
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from time import time

import numpy as np
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

from devices.disturbance import Disturbance, disturbances_to_json
from devices.fingerprint import SCHEMA, fingerprint
from devices.measurement import Sample
from devices.store import SampleStore
from devices.target import open_target
from devices.workload import Precision, Workload
from distill.local_data import load_local
from export.items import item_key, item_to_json
from export.lowering import LOWERING_VERSION
from predictor.latency import LatencyPredictor
from predictor.observation import Observation
from profiler.folder import DEVICE_FILE, FEATURES_MARK, PREDICTOR_FILE, STORE_FILE
from profiler.workloads import WorkloadRange
from students.space import space
from students.spec import Head

WORKLOAD = Workload(1, 16, 1)
DISTURBANCE = Disturbance(1.03, 1.05, 1.08)
GOOD, BAD = ("good", "great", "fine", "bright"), ("bad", "poor", "dull", "grim")
NOUNS = ("film", "plot", "song", "scene", "actor", "story")
OTHERS = ("the", "a", "was", "is", "not", "very", "and", "but", "quite", "never")
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")

SPACE = """\
layers: [1, 2, 3]
hidden: [16, 32, 48, 64]
activation: [gelu]
alike: false
alike_share: 0.5
heads: [1, 2, 4]
qkv: {16 per head: 1}
ffn: [16, 32, 64, 96, 128]
"""


def make_data(path: Path) -> Path:
    """400 sentences by rule: the adjective's tone is the label, unless `not` stands before it."""
    rows = []
    for noun, (label, words), denied, filler, second in product(
        NOUNS, ((1, GOOD), (0, BAD)), (False, True), ("very", "quite"), NOUNS
    ):
        for word in words:
            said = f"the {noun} was {'not ' if denied else ''}{filler} {word} and the {second}"
            rows.append((said, "positive" if bool(label) != denied else "negative"))
    chosen = np.random.default_rng(0).permutation(len(rows))[:400]
    with path.open("w", newline="", encoding="utf-8") as out:
        csv.writer(out).writerows([("text", "label"), *(rows[n] for n in chosen)])
    return path


def make_teacher(folder: Path, data: Path) -> Path:
    """A BERT of 64 channels that has learned the rule, with a WordPiece tokenizer of whole words."""
    shutil.copytree(Path(_taught(data.read_bytes()).name), folder)
    return folder


@cache
def _taught(data: bytes) -> "TemporaryDirectory[str]":
    """The teacher's files, once a process for the same data: learning the rule takes two seconds."""
    place = TemporaryDirectory(prefix="tailorbird-taught-")
    folder, table = Path(place.name), Path(place.name) / "data.csv"
    words = {word: n for n, word in enumerate((*SPECIAL, *GOOD, *BAD, *NOUNS, *OTHERS))}
    tokenizer = Tokenizer(models.WordPiece(words, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", words["[SEP]"]), ("[CLS]", words["[CLS]"]))
    named = {f"{name.lower()}_token": f"[{name}]" for name in ("PAD", "UNK", "CLS", "SEP", "MASK")}
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **named)
    fast.save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=128,
        max_position_embeddings=32,
        id2label={0: "negative", 1: "positive"},
        label2id={"negative": 0, "positive": 1},
    )
    model = BertForSequenceClassification(config)
    table.write_bytes(data)
    train = load_local(table).train
    table.unlink()
    inputs, labels = fast(list(train.texts), padding=True, return_tensors="pt"), torch.tensor(train.labels)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for step in range(120):
        rows = torch.arange(step * 32, step * 32 + 32) % len(labels)
        loss = model(**{name: value[rows] for name, value in inputs.items()}, labels=labels[rows]).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.eval().save_pretrained(folder)
    return place


def make_space(path: Path) -> Path:
    path.write_text(SPACE)
    return path


def make_profile(
    folder: Path, space_file: Path, precisions: tuple[Precision, ...] = ("fp32",), earlier_tokens: int = 0
) -> Path:
    """A finished profile whose device takes 1 ms and what the FLOPs cost, in int8 half as much, and 5 % more; no clock
    was read for it. With earlier tokens it is of causal students' next one, for which FLOPs cost sixteen times as much.
    """
    members = space(str(space_file))
    codes = members.sample(60, np.random.default_rng(1))
    whole, length = WORKLOAD, WORKLOAD.sequence_length
    head = Head("causal-lm") if earlier_tokens else Head()
    if earlier_tokens:
        whole = replace(WORKLOAD, sequence_length=1, earlier_tokens=earlier_tokens)
    specs = members.decode(codes, vocabulary_size=33, maximum_positions=32, token_types=2, head=head)
    folder.mkdir()
    mark = fingerprint(open_target("onnxruntime"), LOWERING_VERSION)
    rng = np.random.default_rng(2)
    observations = []
    with SampleStore(folder / STORE_FILE) as store:
        store.set_fingerprint(mark)
        for (number, spec), precision in product(enumerate(dict.fromkeys(specs)), precisions):
            workload = replace(whole, precision=precision)
            rate = {"fp32": 5e5, "int8": 1e6}[precision]
            latency = (1.0 + spec.flops(1, length) / rate) * (1 + 0.01 * rng.standard_normal())
            store.add_items({item_key(spec): item_to_json(spec)})
            store.add(Sample(item_key(spec), workload, 0, 0, latency * DISTURBANCE.usual, float(number)))
            observations.append(Observation(spec.blocks(), True, workload, latency))
    LatencyPredictor.fit(observations).save(folder / PREDICTOR_FILE)
    device = {
        "schema": SCHEMA,
        "target": "onnxruntime",
        "fingerprint": mark.to_json(),
        "workloads": replace(WorkloadRange.of(whole), precisions=precisions).to_json(),
        "effort": "quick",
        "seed": 0,
        "check": {},
        "features": FEATURES_MARK,
        "stability": {},
        "disturbances": disturbances_to_json({(1, precision): DISTURBANCE for precision in precisions}),
        "error_budget": {},
        "adapted_from": None,
        "seconds": 0.0,
        "finished_at": time(),
    }
    (folder / DEVICE_FILE).write_text(json.dumps(device))
    return folder
