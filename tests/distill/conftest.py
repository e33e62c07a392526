"""A tiny fitted world: a word tokenizer, a two-layer BERT of 24 channels, a task that words decide."""

from pathlib import Path

import numpy as np
import pytest
from tiny_kinds import BAD, GOOD, PLAIN, write_bert

from distill.examples import Task, make_task
from distill.labelling import RawSplit
from distill.recipe import Optimization
from distill.splits import Row, Splits, split_single
from distill.teachers import Teacher, prepare_teacher
from runs.progress import Progress

TRAINING = Optimization(learning_rate=3e-3, epochs=5, minimum_steps=1)


def tiny_raw(examples: int = 400, seed: int = 0) -> RawSplit:
    """Sentences of plain words with one or two telling words in them."""
    rng = np.random.default_rng(seed)
    texts, labels = [], []
    for _ in range(examples):
        label = int(rng.integers(2))
        words = list(rng.choice(PLAIN, size=int(rng.integers(3, 12))))
        words += list(rng.choice(GOOD if label else BAD, size=2))
        texts.append(" ".join(words[i] for i in rng.permutation(len(words))))
        labels.append("good" if label else "bad")
    return RawSplit(texts, None, labels, "tiny")


@pytest.fixture(scope="session")
def quiet() -> Progress:
    return Progress(quiet=True)


@pytest.fixture(scope="session")
def task() -> Task:
    def divide(rows: dict[str, tuple[Row, ...]], place: str) -> Splits:
        return split_single(rows["train"])

    return make_task({"train": tiny_raw()}, name="tiny", source="made up", licence="MIT-0", divide=divide)


@pytest.fixture(scope="session")
def bert_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bert(tmp_path_factory.mktemp("bert") / "tiny-bert")


@pytest.fixture(scope="session")
def teacher(bert_folder: Path, task: Task, quiet: Progress, tmp_path_factory: pytest.TempPathFactory) -> Teacher:
    patch = pytest.MonkeyPatch()
    patch.setenv("TAILORBIRD_HOME", str(tmp_path_factory.mktemp("home")))
    try:
        return prepare_teacher(str(bert_folder), task, quiet, training=TRAINING)
    finally:
        patch.undo()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAILORBIRD_HOME", str(tmp_path / "home"))
