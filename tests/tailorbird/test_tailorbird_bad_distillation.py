"""Bad input to `distill-student`: one sentence before anything is trained, fetched or written."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

RECIPE = """\
terms:
  - {objective: hidden, matching: [0, 1]}
  - {objective: logits}
optimization: {learning_rate: 1.0e-3, epochs: 1}
"""


@pytest.fixture
def distilling(world: Any, refused: Any) -> Any:
    """The sentence of a `distill-student` over the tiny world, with some flags changed."""

    def run(**changes: object) -> str:
        flags = {"student": "bert-tiny", "teacher": world.teacher, "data": world.data, **changes}
        sentence: str = refused(
            "distill-student", *(part for name, value in flags.items() for part in flag(name, value))
        )
        return sentence

    return run


def flag(name: str, value: object) -> tuple[str, object]:
    return f"--{name.replace('_', '-')}", value


def recipe(folder: Path, old: str = "", new: str = "") -> Path:
    assert old in RECIPE
    path = folder / "mine.yaml"
    path.write_text(RECIPE.replace(old, new))
    return path


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("objective: hidden", "objective: hiden", "unknown objective 'hiden': use one of hidden, "),
        ("matching: [0, 1]", "matching: unifrom", "unknown matching 'unifrom': use one of uniform, "),
        ("[0, 1]", "[0, 3]", "the matching has layer 3 of the teacher for the student's layer 1"),
        ("[0, 1]", "[0, 1, 2]", "the matching names layers of the teacher for 3 layers of a student of 2"),
        ("optimization:", "layer_map: [2]\noptimization:", "does not say where each of the student's 2 layers"),
        (
            "optimization:",
            "layer_map: [1, 7]\noptimization:",
            "layer 7 of the teacher for the student's layer 1",
        ),
        ("epochs: 1", "epochs: -1", "epochs of the optimization is -1"),
    ],
)
def test_a_recipe_that_asks_for_what_is_not_there(
    distilling: Any, tmp_path: Path, old: str, new: str, words: str
) -> None:
    assert words in distilling(recipe=recipe(tmp_path, old, new))


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"epochs": "0"}, "--epochs is 0.0"),
        ({"epochs": "nan"}, "--epochs is nan"),
        ({"epochs": "1e300"}, "--epochs is 1e+300: it must be above 0 and at most 10,000"),
        ({"transfer-data": "."}, "is a folder where one file is wanted"),
        ({"epochs": "inf"}, "--epochs is inf"),
        ({"epochs": "some"}, "'--epochs'"),
        ({"augment": "-1"}, "'--augment'"),
        ({"augment": "1.5"}, "'--augment'"),
        ({"seed": "-1"}, "'--seed'"),
        ({"seed": str(2**32)}, "'--seed'"),
        ({"task": "clasification"}, "use one of classification, "),
    ],
)
def test_numbers_that_cannot_be_meant(distilling: Any, flags: dict[str, object], words: str) -> None:
    assert words in distilling(**flags)


def settings(folder: Path, **changes: Any) -> Path:
    """A checkpoint's config with some settings changed."""
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))
    return folder


def csv(path: Path, labels: list[Any]) -> Path:
    path.write_text("text,label\n" + "".join(f"text {n},{label}\n" for n, label in enumerate(labels)))
    return path


def names(*labels: str) -> dict[str, Any]:
    return {"id2label": dict(enumerate(labels)), "label2id": {label: n for n, label in enumerate(labels)}}


@pytest.mark.parametrize("command", ["distill-student", "nas-search"])
def test_a_teacher_for_other_labels(command: str, world: Any, distilling: Any, refused: Any, tmp_path: Path) -> None:
    teacher = settings(shutil.copytree(world.teacher, tmp_path / "teacher"), **names("spam", "ham"))
    flags = {"teacher": teacher, "data": world.data}
    search = {"budget-ms": 2, "target": f"replay:{world.profile}", "space": world.space, "sequence-length": 16, **flags}
    if command == "nas-search":
        sentence = refused(command, *(part for one in search.items() for part in flag(*one)))
    else:
        sentence = distilling(**flags)
    assert "is a classifier for spam, ham" in sentence and "negative, positive" in sentence


def test_a_tokenizer_of_another_model(world: Any, distilling: Any, tmp_path: Path) -> None:
    teacher = shutil.copytree(world.teacher, tmp_path / "teacher")
    tokenizer = AutoTokenizer.from_pretrained(teacher)
    words = len(tokenizer)
    tokenizer.add_tokens(["one", "more"])
    tokenizer.save_pretrained(teacher)
    assert f"knows {words + 2} words and the model has embeddings of {words}" in distilling(teacher=teacher)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"train": ["a", "b"] * 20, "test": []}, "test.csv is empty"),
        ({"train": [], "test": ["a", "b"] * 20}, "train.csv is empty"),
        ({"train": ["a"] * 20, "test": ["a", "b"] * 9}, "test.csv has the class 'b', which"),
        ({"train": ["a"] * 20, "test": ["a"] * 9}, "one class only ('a')"),
        ({"train": ["a", ""] * 20}, "row 2, column 'label' is empty"),
        ({"train": [1.5, ""] * 20}, "row 2, column 'label' is nan: it must be a number"),
        ({"train": [1.5, "nan"] * 20}, "row 2, column 'label' is nan: it must be a number"),
        ({"train": [1.5, "inf"] * 20}, "row 2, column 'label' is inf"),
        ({"train": [1.5, "1e39"] * 20}, "row 2, column 'label' is 1e+39"),
        ({"train": [1e6 + 0.5, 1e6 + 1.5] * 20}, "lies around 1e+06 and differs by 0.5 only"),
        ({"train": [1.5, 1.5] * 20}, "is 1.5 in every row"),
        ({"test": ["a", "b"] * 20}, "has no train split"),
    ],
)
def test_splits_that_teach_nothing(distilling: Any, tmp_path: Path, files: dict[str, list[Any]], words: str) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    for part, labels in files.items():
        csv(folder / f"{part}.csv", labels)
    assert words in distilling(data=folder)


def test_texts_too_few_for_a_block(distilling: Any, tmp_path: Path) -> None:
    (tmp_path / "few.txt").write_text("\n".join(f"the film was good {n}" for n in range(30)))
    assert "the validation split of" in distilling(data=tmp_path / "few.txt", task="masked-lm")


def test_a_question_longer_than_the_teacher_reads(distilling: Any, tmp_path: Path) -> None:
    asked = [{"question": "the film " * n, "answers": [{"text": "film", "answer_start": 0}]} for n in range(1, 31)]
    data = {"data": [{"paragraphs": [{"context": f"film {n}", "qas": asked}]} for n in range(20)]}
    (tmp_path / "squad.json").write_text(json.dumps(data))
    sentence = distilling(data=tmp_path / "squad.json")
    assert "the question 'the film the film" in sentence and "has 60 tokens" in sentence and "room for 28" in sentence


BROKEN = [
    (lambda folder: (folder / "model.safetensors").write_bytes(b"no weights"), "cannot be read"),
    (lambda folder: settings(folder, hidden_size=32), "other sizes than its config.json says"),
    (lambda folder: settings(folder, num_hidden_layers=9), "lacks weights"),
    (lambda folder: settings(folder, num_attention_heads=5), "number of attention heads (5)"),
    (lambda folder: settings(folder, vocab_size="many"), "'vocab_size' expected int"),
    (lambda folder: (folder / "config.json").write_text("{"), "not whole JSON"),
    (lambda folder: (folder / "config.json").write_text("[]"), "model of type None"),
    (lambda folder: settings(folder, model_type="tailorbird-student"), "not a student spec"),
    (lambda folder: settings(folder, model_type="tailorbird-student", spec={"layers": 3}), "not a student spec"),
]
WITHOUT_TOKENIZER = (lambda folder: (folder / "tokenizer.json").write_text("{"), "tokenizer")


@pytest.mark.parametrize(
    ("part", "break_it", "words"),
    [
        # A student's own tokenizer is not looked at.
        *(("teacher", *one) for one in [*BROKEN, WITHOUT_TOKENIZER]),
        *(("student", *one) for one in BROKEN),
    ],
)
def test_a_checkpoint_that_is_damaged(
    world: Any, distilling: Any, tmp_path: Path, part: str, break_it: Any, words: str
) -> None:
    folder = shutil.copytree(world.teacher, tmp_path / "damaged")
    break_it(folder)
    sentence = distilling(**{part: folder})
    assert "damaged" in sentence and words in sentence
