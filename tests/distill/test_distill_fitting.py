"""Teachers and data that do not go together are told before anything is trained; labels meet by their names."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer, BertConfig, BertForTokenClassification

from distill.distillation import evaluate
from distill.encoding import encode, stream
from distill.examples import Split, Task, make_task
from distill.fitting import Found, check_fit, fitting_length, most_tokens
from distill.label_names import label_order
from distill.labelling import RawSplit
from distill.recipe import Optimization
from distill.sources import found_in
from distill.teachers import Teacher, prepare_teacher
from runs.errors import UserError
from runs.progress import Progress
from students.bert import load_model

SHORT = Optimization(1e-3, epochs=0.1, minimum_steps=1)


def of_ours(model: Any, tokenizer: Any) -> Found:
    return found_in("t", model, model.config.spec_object.head, tokenizer)


@pytest.mark.parametrize(
    ("theirs", "ours", "order"),
    [
        (["neg", "pos"], ["neg", "pos"], (0, 1)),
        (["pos", "neg"], ["neg", "pos"], (1, 0)),
        (["Entailment", "NEUTRAL", "contradiction "], ["contradiction", "entailment", "neutral"], (2, 0, 1)),
        (["LABEL_0", "LABEL_1"], ["bad", "good"], (0, 1)),
        (["LABEL_1", "LABEL_0"], ["LABEL_0", "LABEL_1"], (1, 0)),
        (["negative", "positive"], ["0", "1"], (0, 1)),
        (["negative", "positive"], ["-1", "1"], (0, 1)),
        (["2", "1"], ["1", "2"], (1, 0)),
        (["a", "A"], ["A", "a"], (1, 0)),
        ([f"LABEL_{n}" for n in range(11)], sorted(map(str, range(11))), (0, 1, 10, 2, 3, 4, 5, 6, 7, 8, 9)),
        ([f"LABEL_{n}" for n in range(3)], ["1", "10", "2"], (0, 2, 1)),
        (["low", "middle", "high"], ["1", "10", "2"], (0, 2, 1)),
    ],
)
def test_labels_meet_by_name_or_by_place(theirs: list[str], ours: list[str], order: tuple[int, ...]) -> None:
    assert label_order("t", theirs, ours) == order


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [(["neg", "pos"], ["bad", "good"]), (["a", "b", "c"], ["a", "b", "d"]), (["a", "A"], ["a", "b"])],
)
def test_other_names_are_no_guess(theirs: list[str], ours: list[str]) -> None:
    with pytest.raises(UserError, match="is a classifier for .* with other names, .*: call the data's"):
        label_order("t", theirs, ours)


def renamed(teacher: Teacher, folder: Path, names: tuple[str, ...]) -> Path:
    """The teacher's model under other label names."""
    model = teacher.model()
    model.config.id2label = dict(enumerate(names))
    model.config.label2id = {name: number for number, name in enumerate(names)}
    model.save_pretrained(folder)
    teacher.tokenizer().save_pretrained(folder)
    return folder


def test_a_classifier_answers_in_the_order_of_the_data(
    teacher: Teacher, task: Task, quiet: Progress, tmp_path: Path
) -> None:
    model = teacher.model()
    with torch.no_grad():
        for weight in (model.head.classifier.weight, model.head.classifier.bias):
            weight.copy_(weight.flip(0).clone())
    model.config.id2label, model.config.label2id = {0: "GOOD", 1: "bad"}, {"GOOD": 0, "bad": 1}
    model.save_pretrained(tmp_path)
    teacher.tokenizer().save_pretrained(tmp_path)
    wrong = evaluate(load_model(tmp_path), teacher.tokenizer(), task.validation).score
    taken = prepare_teacher(str(tmp_path), task, quiet)
    assert wrong == pytest.approx(1 - teacher.validation_score), "it answers the other way round"
    assert taken.validation_score == teacher.validation_score
    assert taken.model().config.id2label == {0: "bad", 1: "good"}
    assert torch.equal(taken.model().head.classifier.weight, teacher.model().head.classifier.weight)


def test_tags_meet_by_name_too(bert_folder: Path, quiet: Progress, tmp_path: Path) -> None:
    rows = [["the", "fine", "film"], ["the", "dull", "plot"]] * 20
    texts = [" ".join([*row, *["very"] * n]) for n, row in enumerate(rows)]
    tags = [["O", "B-x" if "fine" in row else "B-y", "O", *["O"] * n] for n, row in enumerate(rows)]
    task = make_task({"train": RawSplit(texts, None, tags, "t", "tokens")}, name="t", source="t", licence="")
    names = ("B-y", "B-x", "O")
    config = BertConfig.from_pretrained(bert_folder, id2label=dict(enumerate(names)))
    config.label2id = {name: number for number, name in enumerate(names)}
    model = BertForTokenClassification(config)
    model.save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(bert_folder).save_pretrained(tmp_path)
    taken = prepare_teacher(str(tmp_path), task, quiet).model()
    assert taken.config.id2label == {0: "O", 1: "B-x", 2: "B-y"}
    assert torch.equal(taken.head.classifier.weight, model.classifier.weight[[2, 1, 0]])


def test_what_is_taken_for_what_is_said(
    teacher: Teacher, task: Task, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = renamed(teacher, tmp_path / "nameless", ("LABEL_0", "LABEL_1"))
    taken = prepare_teacher(str(folder), task, Progress())
    assert "the labels bad, good are taken for LABEL_0, LABEL_1 of the teacher nameless" in capsys.readouterr().err
    assert taken.validation_score == teacher.validation_score
    with pytest.raises(UserError, match="is a classifier for old, new, and the data has"):
        prepare_teacher(str(renamed(teacher, tmp_path / "other", ("old", "new"))), task, Progress())


def test_a_tokenizer_with_more_words_than_the_model(
    bert_folder: Path, task: Task, quiet: Progress, tmp_path: Path
) -> None:
    folder = shutil.copytree(bert_folder, tmp_path / "teacher")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["brandnew", "words"])
    tokenizer.save_pretrained(folder)
    with pytest.raises(UserError, match="knows 29 words and the model has embeddings of 27"):
        prepare_teacher(str(folder), task, quiet, training=SHORT)


def long_task(words: int, kind: str = "classification") -> Task:
    """Texts of one more word each, up to so many."""
    texts = [" ".join(["film"] * (n % words + 1) + [f"w{n}"]) for n in range(60)]
    labels: list[Any] = [n % 2 for n in range(60)] if kind == "classification" else [0] * 60
    return make_task({"train": RawSplit(texts, None, labels, "long", kind)}, name="long", source="long", licence="")


def test_texts_that_are_cut_are_counted(bert_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    task, tokenizer = long_task(60), AutoTokenizer.from_pretrained(bert_folder)
    length, cut = fitting_length(tokenizer, task, 40)
    # Each word that it knows and each that it does not is one token, and the text stands between two marks.
    assert (length, cut) == (40, sum(len(text.split()) + 2 > 40 for text in task.train.texts))
    assert fitting_length(tokenizer, long_task(37), 40)[1] == 0
    prepare_teacher(str(bert_folder), task, Progress(), training=SHORT)
    said = (
        f"{cut} of {len(task.train)} training texts are longer than 40 tokens and are cut there: the teacher tiny-bert"
    )
    assert capsys.readouterr().err.count(said) == 1


def shortened(bert_folder: Path, positions: int) -> Any:
    """The tiny BERT with fewer positions; only its sizes count."""
    model = load_model(bert_folder)
    model.config.spec = replace(model.config.spec_object, maximum_positions=positions).to_json()
    return model


def test_too_few_positions_for_any_text(bert_folder: Path, task: Task) -> None:
    tokenizer = AutoTokenizer.from_pretrained(bert_folder)
    with pytest.raises(UserError, match="has 7 positions, and a text needs at least 8"):
        check_fit(of_ours(shortened(bert_folder, 7), tokenizer), tokenizer, task)
    check_fit(of_ours(shortened(bert_folder, 8), tokenizer), tokenizer, task)


def test_a_question_that_leaves_no_room(bert_folder: Path, quiet: Progress, tmp_path: Path) -> None:
    questions = [f"{'very ' * (n % 3)}film {n}" for n in range(30)]
    contexts = [f"the film was fine {'and ' * n}" for n in range(30)]
    tokenizer, model = AutoTokenizer.from_pretrained(bert_folder), load_model(bert_folder)

    def of(asked: list[str]) -> Task:
        raw = RawSplit(asked, contexts, [[(0, "the film")]] * 30, "squad", "spans")
        return make_task({"train": raw}, name="squad", source="squad", licence="")

    just = of(["film " * 36, *questions[1:]])
    check_fit(of_ours(model, tokenizer), tokenizer, just)
    longest = [encode(tokenizer, part, 40, "spans").lengths.max() for part in (just.train, just.validation, just.test)]
    assert max(longest) == 40
    with pytest.raises(UserError, match=r"the question 'film film .* split has 37 tokens, .* has room for 36"):
        prepare_teacher(str(bert_folder), of(["film " * 37, *questions[1:]]), quiet, training=SHORT)


@pytest.mark.parametrize("kind", ["masked-lm", "causal-lm"])
def test_every_split_of_a_language_model_fills_a_block(kind: str, bert_folder: Path) -> None:
    model, tokenizer, task = load_model(bert_folder), AutoTokenizer.from_pretrained(bert_folder), long_task(20, kind)
    check_fit(of_ours(model, tokenizer), tokenizer, task)
    block = most_tokens(kind, 40) - (2 if kind == "masked-lm" else 0)
    few = Split((" ".join(["film"] * (block - 2)),), None, (0,))
    assert len(stream(tokenizer, few.texts, kind)) == block - 1
    for part in ("train", "validation", "test"):
        with pytest.raises(
            UserError, match=f"the {part} split of long has {block - 1} tokens, fewer than one block of"
        ):
            check_fit(of_ours(model, tokenizer), tokenizer, replace(task, **{part: few}))
