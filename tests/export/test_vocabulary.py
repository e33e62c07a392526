"""Vocabulary pruning: the same pieces and the same answers on the texts, and no word that becomes unknown."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models
from transformers import AutoTokenizer, BertTokenizerFast, PreTrainedTokenizerFast

from export.student import export_student, load_tokenizer
from export.vocabulary import PRUNED_FILE, prune_checkpoint, prune_model, prune_vocabulary
from runs.errors import UserError
from students.bert import load_model
from students.model import build_student, encoder_of
from students.spec import Head, HeadKind, uniform_spec

LETTERS = "abdfgilmnotpsruv"
SPECIAL = ["[PAD]", "[unused0]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
PIECES = [*SPECIAL, *LETTERS, *(f"##{letter}" for letter in LETTERS), ",", "good", "bad", "film", "plot", "##ful"]
PIECES += ["goo", "films", "fil", "##ms", "##mi", "plots", "bo", "bot", "##ring", "naïf", "##lm", "spin", "##ning"]
TEXTS = ["good films", "a bad plot, boring", "goo [MASK]"]
OTHERS = ["fil", "spinning", "plots", "bot filmful", "botfilms spin"]
HEADS: list[HeadKind] = ["classification", "tokens", "masked-lm", "none"]


def save_tokenizer(folder: Path) -> None:
    BertTokenizerFast(vocab={piece: number for number, piece in enumerate(PIECES)}).save_pretrained(folder)


@pytest.fixture
def tokenizer_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "whole"
    save_tokenizer(folder)
    return folder


def checkpoint(folder: Path, kind: HeadKind = "classification") -> Path:
    spec = uniform_spec(1, 16, 2, 24, vocabulary_size=len(PIECES), maximum_positions=32, head=Head(kind, 2))
    model = build_student(spec, label_names=("no", "yes") if kind == "classification" else None)
    generator = torch.Generator().manual_seed(7)
    for parameter in model.parameters():
        parameter.data += 0.3 * torch.randn(parameter.shape, generator=generator)
    model.save_pretrained(folder)
    save_tokenizer(folder)
    return folder


def test_texts_keep_their_pieces_and_others_become_smaller_ones(tokenizer_folder: Path, tmp_path: Path) -> None:
    pruned = prune_vocabulary(tokenizer_folder, TEXTS, tmp_path / "pruned", margin=0)
    whole, small = load_tokenizer(tokenizer_folder), AutoTokenizer.from_pretrained(tmp_path / "pruned")
    assert len(small) == len(pruned.kept_ids) < len(whole) == pruned.whole_size
    for text in TEXTS:
        assert small.tokenize(text) == whole.tokenize(text)
        assert [pruned.kept_ids[number] for number in small(text)["input_ids"]] == whole(text)["input_ids"]
    assert whole.tokenize("spinning") == ["spin", "##ning"]
    assert small.tokenize("spinning") == ["s", "##p", "##i", "##n", "##n", "##i", "##n", "##g"]
    assert small("good", "bad")["token_type_ids"] == whole("good", "bad")["token_type_ids"]
    assert small.pad_token_id == 0 and small.convert_ids_to_tokens(small.mask_token_id) == "[MASK]"


@pytest.mark.parametrize("margin", [0, 3])
def test_no_word_becomes_unknown(margin: int, tokenizer_folder: Path, tmp_path: Path) -> None:
    prune_vocabulary(tokenizer_folder, TEXTS, tmp_path / "pruned", margin=margin)
    whole, small = load_tokenizer(tokenizer_folder), load_tokenizer(tmp_path / "pruned")
    words = [*OTHERS, *(piece.removeprefix("##") for piece in PIECES[len(SPECIAL) :])]
    for word in words:
        if whole.unk_token not in whole.tokenize(word):
            assert small.unk_token not in small.tokenize(word), word


def test_the_margin_is_taken_in_the_vocabularys_order(tokenizer_folder: Path, tmp_path: Path) -> None:
    none = prune_vocabulary(tokenizer_folder, TEXTS, tmp_path / "none", margin=0)
    some = prune_vocabulary(tokenizer_folder, TEXTS, tmp_path / "some", margin=2)
    added = sorted(set(some.kept_ids) - set(none.kept_ids))
    assert [PIECES[number] for number in added] == ["film", "##ful"]
    everything = prune_vocabulary(tokenizer_folder, TEXTS, tmp_path / "all", margin=1000)
    assert set(range(len(PIECES))) - set(everything.kept_ids) == {PIECES.index("[unused0]")}


def test_the_tokenizers_files_agree(tokenizer_folder: Path, tmp_path: Path) -> None:
    pruned = prune_vocabulary(tokenizer_folder, TEXTS, tmp_path / "pruned", margin=1)
    lines = (tmp_path / "pruned" / "vocab.txt").read_text(encoding="utf-8").splitlines()
    written = json.loads((tmp_path / "pruned" / "tokenizer.json").read_text(encoding="utf-8"))
    assert lines == [PIECES[number] for number in pruned.kept_ids]
    assert written["model"]["vocab"] == {piece: number for number, piece in enumerate(lines)}
    assert all(lines[token["id"]] == token["content"] for token in written["added_tokens"])


@pytest.mark.parametrize("kind", HEADS)
def test_answers_on_the_texts_are_the_same(kind: HeadKind, tmp_path: Path) -> None:
    source, output = checkpoint(tmp_path / "whole", kind), tmp_path / "pruned"
    pruned = prune_checkpoint(source, TEXTS, output, margin=2)
    whole, small = load_model(source), load_model(output)
    spec = replace(whole.config.spec_object, vocabulary_size=len(pruned.kept_ids))
    assert small.config.spec_object == spec
    assert small.config.id2label == whole.config.id2label
    assert small.num_parameters() == spec.parameters() < whole.num_parameters()
    rows = torch.tensor(pruned.kept_ids)
    with torch.inference_mode():
        old = whole(**load_tokenizer(source)(TEXTS, padding=True, return_tensors="pt"))[0]
        new = small(**load_tokenizer(output)(TEXTS, padding=True, return_tensors="pt"))[0]
    torch.testing.assert_close(new, old[..., rows] if kind == "masked-lm" else old, atol=1e-6, rtol=0)
    assert json.loads((output / PRUNED_FILE).read_text())["kept_ids"] == list(pruned.kept_ids)


def test_a_pruned_checkpoint_exports_and_may_be_pruned_again(tmp_path: Path) -> None:
    source, output = checkpoint(tmp_path / "whole"), tmp_path / "pruned"
    (source / "README.md").write_text("# a card")
    prune_checkpoint(source, TEXTS, output, margin=20)
    pruned = prune_checkpoint(source, TEXTS, output, margin=0)
    assert (output / "README.md").read_text() == "# a card"
    assert encoder_of(load_model(output)).embeddings.word.weight.shape[0] == len(pruned.kept_ids)
    files = export_student(output, tmp_path / "exported", texts=TEXTS)
    assert all(file.parity.agreement == 1.0 for file in files)


def test_bad_input_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    source, output = checkpoint(tmp_path / "whole"), tmp_path / "pruned"
    with pytest.raises(UserError, match="no texts to choose"):
        prune_checkpoint(source, [], output)
    with pytest.raises(UserError, match="margin of -1"):
        prune_checkpoint(source, TEXTS, output, margin=-1)
    with pytest.raises(UserError, match="in use"):
        prune_checkpoint(source, TEXTS, source)
    with pytest.raises(UserError, match="where the whole tokenizer lies"):
        prune_vocabulary(source, TEXTS, source)
    with pytest.raises(UserError, match="not among the"):
        prune_model(load_model(source), [0, len(PIECES)])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["whole"]


def test_a_tokenizer_of_another_kind_is_refused(tmp_path: Path) -> None:
    own = Tokenizer(models.BPE({"[UNK]": 0, "a": 1}, [], unk_token="[UNK]"))
    PreTrainedTokenizerFast(tokenizer_object=own, unk_token="[UNK]").save_pretrained(tmp_path / "bpe")
    with pytest.raises(UserError, match="of type BPE"):
        prune_vocabulary(tmp_path / "bpe", TEXTS, tmp_path / "pruned")
    assert not (tmp_path / "pruned").exists()
