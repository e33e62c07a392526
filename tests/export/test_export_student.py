"""`export_student` writes verified files or nothing."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from transformers import RobertaConfig, RobertaModel

from export.form import FILES, Form
from export.graph_file import read_graph_file
from export.student import export_student, load_tokenizer
from export.verify import compare, random_batches, run_graph, run_model, text_batches, verify
from runs.errors import UserError
from students.bert import load_model
from students.model import build_student
from students.spec import Head, StudentSpec, uniform_spec

TEXTS = ["a very good film", "the plot not bad", "dull", "the bright plot the a very good film not dull", "bad film"]


def test_files_are_written_and_agree_on_texts(student_folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "out" / "files"
    exported = export_student(student_folder, output, texts=TEXTS)
    assert [file.path.name for file in exported] == list(FILES)
    assert sorted(path.name for path in output.iterdir()) == sorted(FILES)
    for file in exported:
        assert file.size_bytes == file.path.stat().st_size
        assert file.parity.examples == len(TEXTS)
        onnx.checker.check_model(str(file.path), full_check=True)
        json.dumps(file.to_json(), allow_nan=False)
        if file.form.exact:
            assert file.parity.max_abs_error <= 1e-4
            assert file.parity.agreement == 1.0


def test_a_stock_bert_is_exported_without_texts(bert_folder: Path, tmp_path: Path) -> None:
    (file,) = export_student(bert_folder, tmp_path / "files", (Form(),))
    assert file.parity.max_abs_error <= 1e-4
    assert read_graph_file(file.path).spec == load_model(bert_folder).config.spec_object


@pytest.mark.parametrize("head", [Head("none"), Head("regression", 1), Head("classification", 4)])
def test_every_head_is_exported(head: Head, tmp_path: Path) -> None:
    spec = uniform_spec(2, 16, 2, 24, vocabulary_size=50, maximum_positions=20, head=head)
    build_student(spec).save_pretrained(tmp_path / "student")
    files = export_student(tmp_path / "student", tmp_path / "files")
    assert files[0].parity.max_abs_error <= 1e-4 and files[0].parity.agreement == 1.0
    assert read_graph_file(files[0].path).outputs == ("last_hidden_state" if head.kind == "none" else "logits",)


def test_the_same_export_twice_gives_the_same_bytes(student_folder: Path, tmp_path: Path) -> None:
    first = [file.path.read_bytes() for file in export_student(student_folder, tmp_path / "files")]
    second = [file.path.read_bytes() for file in export_student(student_folder, tmp_path / "files")]
    assert first == second


def test_files_may_lie_beside_the_checkpoint_or_in_it(student_folder: Path) -> None:
    export_student(student_folder, student_folder.parent, (Form(precision="int8"),))
    export_student(student_folder, student_folder, (Form(precision="int8"),))
    assert (student_folder.parent / "student.int8.onnx").is_file() and (student_folder / "student.int8.onnx").is_file()


def test_a_folder_of_something_else_is_left_alone(student_folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "letters"
    other.mkdir()
    (other / "letter.txt").write_text("dear")
    with pytest.raises(UserError, match=r"letter\.txt"):
        export_student(student_folder, other)
    assert [path.name for path in other.iterdir()] == ["letter.txt"]
    with pytest.raises(UserError, match="is a file"):
        export_student(student_folder, other / "letter.txt")


def test_a_strangers_file_of_our_name_is_not_replaced(student_folder: Path, tmp_path: Path) -> None:
    export_student(student_folder, tmp_path / "files", (Form(),))
    path = tmp_path / "files" / "student.onnx"
    model = onnx.load(path)
    del model.metadata_props[:]
    onnx.save(model, path)
    before = path.read_bytes()
    with pytest.raises(UserError, match="not of our making"):
        export_student(student_folder, tmp_path / "files")
    assert path.read_bytes() == before
    assert not (tmp_path / "files" / "student.int8.onnx").exists()


def test_bad_input_writes_nothing(student_folder: Path, bert_folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "files"
    RobertaModel(
        RobertaConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8, vocab_size=20)
    ).save_pretrained(tmp_path / "roberta")
    with pytest.raises(UserError, match="does not exist"):
        export_student(tmp_path / "nowhere", output)
    with pytest.raises(UserError, match="roberta"):
        export_student(tmp_path / "roberta", output)
    with pytest.raises(UserError, match="unknown precision"):
        export_student(student_folder, output, (Form(precision="int3"),))
    with pytest.raises(UserError, match="no texts"):
        export_student(student_folder, output, texts=[])
    with pytest.raises(UserError, match="no tokenizer"):
        export_student(bert_folder, output, texts=TEXTS)
    assert not output.exists()


def test_weights_that_are_not_numbers_are_not_exported(tmp_path: Path) -> None:
    model = build_student(uniform_spec(1, 8, 1, 8, vocabulary_size=20, maximum_positions=8))
    with torch.no_grad():
        model.head.classifier.weight[0, 0] = float("nan")
    model.save_pretrained(tmp_path / "broken")
    with pytest.raises(UserError, match="nothing was written"):
        export_student(tmp_path / "broken", tmp_path / "files")
    assert not (tmp_path / "files").exists()


def test_verify_sees_a_wrong_graph(student_folder: Path, bert_folder: Path, tmp_path: Path) -> None:
    model = load_model(student_folder)
    (file,) = export_student(student_folder, tmp_path / "files", (Form(),))
    batches = random_batches(model.config.spec_object)
    assert verify(model, file.path, batches).max_abs_error <= 1e-4
    with torch.no_grad():
        model.head.classifier.bias += torch.tensor([0.0, 9.0, -9.0])
    wrong = verify(model, file.path, batches)
    assert wrong.max_abs_error == pytest.approx(9.0, abs=1e-3)
    assert wrong.agreement < 1.0


def test_agreement_counts_labels_or_near_numbers() -> None:
    reference = np.array([[1.0, 2.0], [3.0, 1.0], [0.0, 5.0], [4.0, 2.0]])
    answer = np.array([[1.0, 1.5], [3.0, 1.0], [0.0, 5.0], [4.0, 2.0]])
    parity = compare([reference[:2], reference[2:]], [answer[:2], answer[2:]], "classification")
    assert (parity.max_abs_error, parity.agreement, parity.largest, parity.examples) == (0.5, 1.0, 5.0, 4)
    assert compare([reference], [answer[:, ::-1]], "classification").agreement == 0.0
    column = np.arange(10.0)[:, None]
    assert compare([column], [column + 0.01], "regression").agreement == 1.0
    assert compare([column], [column * 1.1], "regression").agreement == pytest.approx(0.2)
    states = np.random.default_rng(0).standard_normal((3, 4, 5))
    assert compare([states], [states * [[[0.5]], [[1.0]], [[-1.0]]]], "none").agreement == pytest.approx(2 / 3)
    assert compare([column], [column * np.nan], "regression").max_abs_error == np.inf


def test_texts_and_pairs_become_batches_as_long_as_they_need(student_folder: Path) -> None:
    tokenizer = load_tokenizer(student_folder)
    batches = text_batches(tokenizer, TEXTS, batch_size=2, maximum_length=8)
    assert [batch["input_ids"].shape for batch in batches] == [(2, 6), (2, 8), (1, 4)]
    assert batches[1]["attention_mask"].sum(axis=1).tolist() == [3, 8]
    (pair,) = text_batches(tokenizer, [("a good film", "not bad")])
    assert pair["token_type_ids"].max() == 1


def test_answers_on_texts_are_those_of_the_checkpoint(student_folder: Path, tmp_path: Path) -> None:
    (file,) = export_student(student_folder, tmp_path / "files", (Form(),))
    batches = text_batches(load_tokenizer(student_folder), TEXTS, batch_size=2)
    ours = np.concatenate(list(run_graph(file.path, batches, threads=1)))
    reference = np.concatenate(list(run_model(load_model(student_folder), batches)))
    np.testing.assert_allclose(ours, reference, atol=1e-4)


def test_an_unknown_input_is_named(student_folder: Path, tmp_path: Path, uneven_spec: StudentSpec) -> None:
    (file,) = export_student(student_folder, tmp_path / "files", (Form(),))
    batch = random_batches(uneven_spec)[0]
    with pytest.raises(UserError, match="token_type_ids"):
        list(run_graph(file.path, [{name: value for name, value in batch.items() if name != "token_type_ids"}]))
