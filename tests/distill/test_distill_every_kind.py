"""Every kind of task from its file to a distilled student: read, taught, scored, cut from its teacher, told apart."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import transformers
from tiny_kinds import BAD, GOOD, PLAIN, write

from distill.bag_of_words import bag_of_words_score
from distill.batches import PlannedBatches
from distill.distillation import distil, evaluate
from distill.encoding import encode
from distill.examples import Split, Task
from distill.kinds import KINDS
from distill.recipe import Optimization, Recipe, Term
from distill.tasks import load_task
from distill.teachers import prepare_teacher
from runs.errors import UserError
from runs.progress import Progress
from students.bert import load_model
from students.headed import UNLABELLED
from students.spec import uniform_spec

LOADED_BY = {
    "classification": "AutoModelForSequenceClassification",
    "regression": "AutoModelForSequenceClassification",
    "tokens": "AutoModelForTokenClassification",
    "spans": "AutoModelForQuestionAnswering",
    "masked-lm": "AutoModelForMaskedLM",
    "causal-lm": "AutoModelForCausalLM",
}
RIGHT = {"classification": 0.8, "regression": 0.7, "tokens": 0.8, "spans": 0.5, "masked-lm": 0.05, "causal-lm": 0.05}
"""What a student that has learnt anything at all reaches."""


TRAINING = Optimization(learning_rate=3e-3, epochs=12, minimum_steps=1, batch_size=16)
TAUGHT = Recipe("tiny", (Term("logits"), Term("labels", 0.5)), Optimization(3e-3, 8, 16, minimum_steps=1))


@pytest.fixture(params=KINDS.names())
def task(request: pytest.FixtureRequest, tmp_path: Path, quiet: Progress) -> Task:
    kind = request.param
    return load_task(str(write(kind, tmp_path)), quiet, kind if kind.endswith("-lm") else None)


def test_from_file_to_student(task: Task, bert_folder: Path, tmp_path: Path, quiet: Progress) -> None:
    assert task.kind in KINDS and (task.label_names != ()) == (task.kind in ("classification", "tokens"))
    teacher = prepare_teacher(str(bert_folder), task, quiet, training=TRAINING)
    assert teacher.validation_score > RIGHT[task.kind]
    theirs = teacher.model().config.spec_object
    spec = replace(uniform_spec(1, 16, 2, 32), **{
        name: getattr(theirs, name) for name in ("vocabulary_size", "maximum_positions", "token_types", "head")
    })  # fmt: skip
    done = distil(spec, teacher, task, TAUGHT, tmp_path / "student")
    assert done.validation_scores[task.metric] == done.validation_score and np.isfinite(done.divergence)
    card = (done.folder / "README.md").read_text()
    loader, loads = getattr(transformers, LOADED_BY[task.kind]), f"`{LOADED_BY[task.kind]}.from_pretrained(folder)`"
    assert loads in card and type(loader.from_pretrained(done.folder)) is type(load_model(done.folder))
    assert ("**Answers**" in card) == (task.label_names != ()) and all(name in card for name in task.label_names)
    assert all(f"| {name} | {value:.4f} |" in card for name, value in done.validation_scores.items())
    tokenizer, length = teacher.tokenizer(), teacher.maximum_length
    found = evaluate(load_model(done.folder), tokenizer, task.test, length, task.kind, task.label_names)
    assert found.metric == task.metric and found.score > RIGHT[task.kind] - 0.1
    assert 0 <= bag_of_words_score(task, tokenizer=tokenizer) <= 1


def test_a_student_as_large_as_its_teacher_starts_as_its_teacher(
    task: Task, bert_folder: Path, quiet: Progress
) -> None:
    from distill.classroom import classroom

    teacher = prepare_teacher(str(bert_folder), task, quiet, training=replace(TRAINING, epochs=1))
    room = classroom(teacher, task)
    spec = room.model.config.spec_object
    student = room.start(spec, TAUGHT, 0)
    batch = PlannedBatches(room.train, [np.arange(4)], room.train_logits, room.masking)[0]
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask", "token_type_ids")}
    with torch.no_grad():
        ours, theirs = student(**inputs)[0], room.model(**inputs)[0]
    assert torch.allclose(ours, theirs, atol=1e-4)


def test_labels_stand_at_the_tokens_they_belong_to(quiet: Progress, tmp_path: Path, bert_folder: Path) -> None:
    from distill.checkpoints import load_tokenizer

    tokenizer = load_tokenizer(bert_folder)
    tagged = load_task(str(write("tokens", tmp_path)), quiet)
    encoded = encode(tokenizer, tagged.train, 40, "tokens")
    for row in range(5):
        part = slice(encoded.offsets[row], encoded.offsets[row + 1])
        labels = [label for label in encoded.labels[part] if label != UNLABELLED]
        assert tuple(labels) == tagged.train.labels[row]
    asked = load_task(str(write("spans", tmp_path)), quiet)
    encoded = encode(tokenizer, asked.train, 40, "spans")
    for row in range(5):
        first, last = encoded.labels[row]
        ids = encoded.ids[encoded.offsets[row] + first : encoded.offsets[row] + last + 1]
        assert tokenizer.decode(ids) == asked.train.labels[row][0][1]


def test_questions_of_one_article_stay_together(quiet: Progress, tmp_path: Path) -> None:
    articles = [
        {
            "title": f"article {n}",
            "paragraphs": [
                {
                    "context": f"number {n} is {n}",
                    "qas": [
                        {"id": f"{n} {m}", "question": f"what {m}", "answers": [{"text": "number", "answer_start": 0}]}
                        for m in range(7)
                    ],
                }
            ],
        }
        for n in range(20)
    ]
    path = tmp_path / "squad.json"
    path.write_text(json.dumps({"data": articles}))
    task = load_task(str(path), quiet)
    parts = [set(split.pairs or ()) for split in (task.train, task.validation, task.test)]
    assert all(parts) and not parts[0] & parts[1] and not parts[1] & parts[2] and not parts[0] & parts[2]
    assert sum(map(len, parts)) == 20


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("d.jsonl", '{"tokens": ["a", "b"], "tags": ["O"]}', "2 words and 1 tags"),
        ("d.jsonl", '{"tokens": ["a b"], "tags": ["O"]}', "where a single word should be"),
        ("d.jsonl", '{"tokens": [], "tags": []}', "has no words"),
        ("d.json", "[1]", "no list of articles"),
        ("d.json", '{"data": [{"title": "x"}]}', "is not as SQuAD's are"),
        (
            "d.json",
            '{"data": [{"title": "x", "paragraphs": [{"context": "abc", "qas": [{"question": "q", "answers": '
            '[{"text": "b", "answer_start": 0}]}]}]}]}',
            "does not stand at character 0",
        ),
    ],
)
def test_what_is_wrong_with_a_file_is_said(
    name: str, content: str, words: str, quiet: Progress, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=words):
        load_task(str(tmp_path / name), quiet)


def test_a_class_that_train_lacks_is_said(quiet: Progress, tmp_path: Path) -> None:
    pd.DataFrame({"text": list("abcd"), "label": [0, 1, 0, 1]}).to_csv(tmp_path / "train.csv", index=False)
    pd.DataFrame({"text": list("efg"), "label": [0, 1, 2]}).to_csv(tmp_path / "test.csv", index=False)
    with pytest.raises(UserError, match="has the class 2, which .*train.csv lacks"):
        load_task(str(tmp_path), quiet)


def test_texts_shorter_than_a_block_are_refused(quiet: Progress, tmp_path: Path, bert_folder: Path) -> None:
    from distill.checkpoints import load_tokenizer

    (tmp_path / "few.txt").write_text("\n".join(f"the film {word}" for word in GOOD + BAD + PLAIN))
    task = load_task(str(tmp_path / "few.txt"), quiet, "masked-lm")
    with pytest.raises(UserError, match="fewer than one block"):
        encode(load_tokenizer(bert_folder), task.test, 128, "masked-lm")


@pytest.mark.parametrize("trim", [True, False])
def test_words_are_found_where_tokens_begin_with_the_space_before_them(trim: bool) -> None:
    """RoBERTa's way: a text's first word is another token than the same word later."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    pieces = ["<s>", "</s>", "fly", "Ġ", "Ġfly", "Ġto", "Ġou", "slo"]
    letters = sorted(set("".join(pieces[2:])) - set(pieces))
    joined = ("f l", "fl y", "Ġ fly", "Ġ t", "Ġt o", "o u", "Ġ ou", "s l", "sl o")
    merges = [(first, second) for first, second in map(str.split, joined)]
    every = dict.fromkeys([*pieces, *letters, *(first + second for first, second in merges)])
    inner = Tokenizer(models.BPE({piece: number for number, piece in enumerate(every)}, merges))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=trim)
    inner.post_processor = processors.RobertaProcessing(("</s>", 1), ("<s>", 0), trim, add_prefix_space=False)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, pad_token="</s>")
    encoded = encode(tokenizer, Split(("fly to ouslo fly",), None, ((0, 1, 2, 3),)), 20, "tokens")
    tokens = tokenizer.convert_ids_to_tokens(encoded.ids)
    assert tokens == ["<s>", "fly", "Ġto", "Ġou", "slo", "Ġfly", "</s>"]
    assert encoded.labels.tolist() == [UNLABELLED, 0, 1, 2, UNLABELLED, 3, UNLABELLED]
