"""`run.py` cuts texts into the pieces that the checkpoint's tokenizer cuts."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers
from transformers import BertTokenizerFast, PreTrainedTokenizerFast

from export.bundle_files import run
from export.bundle_words import check_words, word_rules
from runs.errors import UserError

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
LETTERS = "abcdefghijklmnopqrstuvwxyzéßσςIÀŻ中文0123456789.,!?'\"-_@#&*()😀👍"
PIECES = [*SPECIAL, *LETTERS, *(f"##{letter}" for letter in LETTERS), "the", "##ing", "naive", "café", "mask", "##sk"]


def tokenizer_of(lower: bool, accents: bool | None) -> Any:
    return BertTokenizerFast(
        vocab={piece: index for index, piece in enumerate(dict.fromkeys(PIECES))},
        do_lower_case=lower,
        strip_accents=accents,
    )


def reader_of(tokenizer: Any, folder: Path) -> run.WordPiece:
    tokenizer.save_pretrained(folder / "tokenizer")
    (folder / "wordpiece.json").write_text(json.dumps(word_rules(tokenizer)))
    return run.WordPiece(folder)


@pytest.fixture(scope="module", params=[(True, None), (False, None)], ids=["lower", "cased"])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, run.WordPiece]:
    tokenizer = tokenizer_of(*request.param)
    return tokenizer, reader_of(tokenizer, tmp_path_factory.mktemp("words"))


def ids_of(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


HARD = st.one_of(
    st.text(max_size=60),
    st.lists(
        st.sampled_from([*PIECES, "naïve", "CAFÉ", "e\u0301", "\u200b", "\x00", "\ufffd", "\xa0", "한국", "ﬁ", "İ"])
    ).map("".join),
    st.lists(st.sampled_from([*PIECES, "\t", "\n", "Ǆ", "x" * 120])).map(" ".join),
)


@given(text=HARD)
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_pieces_are_the_tokenizers(pair: tuple[Any, run.WordPiece], text: str) -> None:
    tokenizer, reader = pair
    assert reader.pieces(text) == ids_of(tokenizer, text)


def test_every_character_is_cut_as_the_tokenizer_does(pair: tuple[Any, run.WordPiece]) -> None:
    tokenizer, reader = pair
    for start in range(0, 0x33480, 0x80):
        codes = [code for code in range(start, start + 0x80) if not 0xD800 <= code < 0xE000]
        text = " ".join(f"a{chr(code)}b {chr(code)}" for code in codes)
        assert reader.pieces(text) == ids_of(tokenizer, text), hex(start)


def test_pairs_are_shortened_as_the_tokenizer_does(pair: tuple[Any, run.WordPiece]) -> None:
    tokenizer, reader = pair
    for one in range(9):
        for other in range(9):
            for longest in (8, 9, 11, 30):
                first, second = " ".join("a" * one), " ".join("b" * other)
                tokens = tokenizer([first], [second], truncation=True, max_length=longest)
                expected = tokens["input_ids"][0], tokens["token_type_ids"][0]
                assert reader.encode(first, second, longest) == expected
    single = tokenizer("a b c d e f g h", truncation=True, max_length=8)
    assert reader.encode("a b c d e f g h", None, 8) == (single["input_ids"], single["token_type_ids"])


def test_a_reader_that_differs_is_noticed(pair: tuple[Any, run.WordPiece], tmp_path: Path) -> None:
    tokenizer, reader = pair
    check_words(reader, tokenizer, ["the cafe"], 16)
    other = tokenizer_of(lower=True, accents=False)
    with pytest.raises(UserError, match="cannot repeat"):
        check_words(reader, other, ["À la café"], 16)


def test_other_tokenizers_are_refused_by_name() -> None:
    words = {piece: index for index, piece in enumerate(SPECIAL)}
    unigram = Tokenizer(models.Unigram([("a", 0.0)]))
    with pytest.raises(UserError, match="model is Unigram"):
        word_rules(PreTrainedTokenizerFast(tokenizer_object=unigram))
    spaced = Tokenizer(models.WordPiece(words, unk_token="[UNK]"))
    spaced.pre_tokenizer = pre_tokenizers.Whitespace()
    with pytest.raises(UserError, match="pre_tokenizer is Whitespace"):
        word_rules(PreTrainedTokenizerFast(tokenizer_object=spaced))
    composed = Tokenizer(models.WordPiece(words, unk_token="[UNK]"))
    composed.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    composed.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    with pytest.raises(UserError, match="NFKC"):
        word_rules(PreTrainedTokenizerFast(tokenizer_object=composed))
    added = tokenizer_of(lower=True, accents=None)
    added.add_tokens([AddedToken("covid", single_word=True)])
    with pytest.raises(UserError, match="covid"):
        word_rules(added)
