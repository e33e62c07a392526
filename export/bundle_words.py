"""What a bundle's `run.py` must know to cut texts into the very pieces that the checkpoint's tokenizer cuts.

The tokenizer is asked what it makes of each character there is, so that nothing depends on the version of Unicode that
the Python on a phone or board was built with.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import groupby
from typing import Any

import numpy as np
from tokenizers import Tokenizer, models

from export.bundle_files import run
from runs.errors import UserError

ASKED = (range(0xD800), range(0xE000, 0x40000), range(0xE0000, 0x110000))
"""All of Unicode but surrogates, which no text holds, and planes without a character, which go with what is before."""

HANGUL = range(0xAC00, 0xD7A4)
"""Syllables, which Unicode has promised to decompose as it does now for ever."""

SEPARATOR = "\N{ANCHOR}"
"""Stands between the characters that the tokenizer is asked about; a letter to no tokenizer, and no mark joins it."""

BY_CHARACTER = ("BertNormalizer", "Lowercase", "NFD", "StripAccents")
"""Normalizers that look at one character at a time; what NFD does to the order of marks matters to no vocabulary."""


def word_rules(tokenizer: Any) -> dict[str, Any]:
    """The content of a bundle's wordpiece.json for a fast tokenizer of `transformers`.

    `ranges` has [first code point, name in `run.RULES`] from 0 upwards, `changed` each character that becomes something
    else, `added` the tokens that are found in texts as they stand. `UserError` for a tokenizer unlike BERT's.
    """
    description = json.loads(tokenizer.backend_tokenizer.to_str())
    _check(description)
    changed, ranges = _characters(json.dumps(description["normalizer"]))
    return {
        "start": tokenizer.cls_token_id,
        "end": tokenizer.sep_token_id,
        "padding": tokenizer.pad_token_id,
        "added": {token["content"]: token["id"] for token in description["added_tokens"]},
        "changed": changed,
        "ranges": ranges,
    }


def _check(description: dict[str, Any]) -> None:
    kinds = {part: (description[part] or {}).get("type", "none") for part in ("model", "pre_tokenizer")}
    for part, wanted in (("model", "WordPiece"), ("pre_tokenizer", "BertPreTokenizer")):
        if kinds[part] != wanted:
            raise UserError(
                f"a bundle reads texts as BERT does, and this tokenizer's {part} is {kinds[part]}, not {wanted}: "
                "export without --bundle."
            )
    for normalizer in _normalizers(description["normalizer"]):
        if normalizer not in BY_CHARACTER:
            raise UserError(
                f"a bundle cannot repeat this tokenizer's normalizer {normalizer}: export without --bundle."
            )
    for token in description["added_tokens"]:
        if any(token[flag] for flag in ("normalized", "lstrip", "rstrip", "single_word")):
            raise UserError(
                f"a bundle cannot repeat how this tokenizer finds its added token {token['content']!r}: "
                "export without --bundle."
            )


def _normalizers(description: dict[str, Any] | None) -> Iterator[str]:
    if description is None:
        return
    if description["type"] == "Sequence":
        for part in description["normalizers"]:
            yield from _normalizers(part)
    else:
        yield description["type"]


@cache
def _characters(normalizer: str) -> tuple[dict[str, str], list[list[Any]]]:
    """`changed` and `ranges` of the BERT pre-tokenizer after a normalizer, given as JSON; takes a second or two."""
    codes = [code for part in ASKED for code in part]
    made = _made(normalizer, codes)
    named = [(code, _rule(code, became)) for code, became in zip(codes, made, strict=True)]
    changed = {chr(code): became for (code, rule), became in zip(named, made, strict=True) if rule == "changed"}
    plain = [(code, rule) for code, rule in named if rule != "changed"]
    ranges = [[next(group)[0], rule] for rule, group in groupby(plain, key=lambda pair: pair[1])]
    return changed, ranges


def _rule(code: int, became: str) -> str:
    character = chr(code)
    if became == character:
        return "kept"
    name = next((name for name, rule in run.RULES.items() if rule(character) == became), "changed")
    return "changed" if name == "decomposed" and code not in HANGUL else name


def _made(normalizer: str, codes: Sequence[int]) -> list[str]:
    """What each character becomes: normalized, and with spaces where the pre-tokenizer cuts."""
    described = json.loads(Tokenizer(models.WordPiece({"?": 0}, unk_token="?")).to_str())
    described |= {"normalizer": json.loads(normalizer), "pre_tokenizer": {"type": "BertPreTokenizer"}}
    asked = Tokenizer.from_str(json.dumps(described))
    text = SEPARATOR.join(map(chr, codes))
    normal = asked.normalizer.normalize_str(text) if asked.normalizer else text
    made = normal.split(SEPARATOR)
    place = codes.index(ord(SEPARATOR))
    made[place : place + 2] = [SEPARATOR]
    letters = set(normal) - {SEPARATOR}
    pieces = [piece for piece, _ in asked.pre_tokenizer.pre_tokenize_str(SEPARATOR.join(sorted(letters)))]
    cuts = dict.fromkeys(letters.difference("".join(pieces)), " ")
    cuts |= {piece: f" {piece} " for piece in pieces if len(piece) == 1 and piece != SEPARATOR}
    table = str.maketrans(cuts)
    return [became.translate(table) for became in made]


def check_words(reader: run.WordPiece, tokenizer: Any, texts: Sequence[str], longest: int) -> None:
    """Raise `UserError` unless `run.py` cuts `texts`, random ones and pairs of both as the tokenizer does."""
    tried = [*texts, *_random_texts(reader)]
    pairs: list[tuple[str, str | None]] = [(text, None) for text in tried]
    pairs += zip(tried, reversed(tried), strict=True)
    for text, pair in pairs:
        # As lists, since a single empty second text counts as none.
        tokens = tokenizer([text], None if pair is None else [pair], truncation=True, max_length=longest)
        (ids,) = tokens["input_ids"]
        (types,) = tokens.get("token_type_ids", [[0] * len(ids)])
        if reader.encode(text, pair, longest) != (ids, types):
            raise UserError(
                f"a bundle cannot repeat what this tokenizer makes of {text[:40]!r}: export without --bundle."
            )


RANDOM_TEXTS = 200


def _random_texts(reader: run.WordPiece) -> Iterator[str]:
    """Vocabulary and characters of all kinds in disorder, with and without spaces; always the same."""
    rng = np.random.default_rng(0)
    pieces = list(reader.vocabulary)
    rows = [chr(code) for code in range(0x20, 0x3100)] + [chr(code) for code in range(0x1F300, 0x1F700)]
    kinds: tuple[Callable[[], str], ...] = (
        lambda: pieces[rng.integers(len(pieces))].removeprefix("##"),
        lambda: rows[rng.integers(len(rows))],
        lambda: chr(rng.integers(0x20, 0x250)),
    )
    for number in range(RANDOM_TEXTS):
        joint = " " if number % 2 else ""
        yield joint.join(kinds[rng.integers(len(kinds))]() for _ in range(rng.integers(1, 40)))
