"""What a graph must know to cut texts into the pieces that a tokenizer cuts: a table, two classes and a vocabulary."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from export.bundle_files.run import RULES
from export.bundle_words import HANGUL, word_rules
from export.student import load_tokenizer
from runs.errors import UserError

LAST_CODE = 0x10FFFF

PRIVATE_USE = 0xE000
"""First character without a meaning; the first few of these stand for added tokens inside the graph."""

SMALL_RANGE = 64
"""Ranges up to here go into the table: a regular expression of a thousand ranges is slow to compile."""

JAMO = range(0x1100, 0x1200)
"""What Hangul syllables are decomposed into."""


@dataclass(frozen=True)
class TextRules:
    """Text → words → pieces of one tokenizer; equal to its own on every text without a second one."""

    table: dict[str, str]
    """Character → what stands in its place; spaces part words."""
    removed: str
    """Class of a regular expression: characters beyond the table that vanish."""
    apart: str
    """As `removed`: characters beyond the table that are words of their own."""
    added: dict[str, str]
    """Token that is found in texts as it stands → the character that stands for it in `vocabulary`."""
    vocabulary: dict[str, int]
    """Piece → id."""
    unknown: str
    prefix: str
    """What pieces inside a word begin with."""
    longest: int
    """Characters of the longest word that is not unknown."""
    start: int
    end: int
    padding: int


def text_rules(folder: Path) -> TextRules:
    """The rules of the tokenizer in a folder; `UserError` where it is not of BERT's kind or keeps odd characters."""
    tokenizer = load_tokenizer(folder)
    rules = word_rules(tokenizer)
    if tokenizer("")["input_ids"] != [rules["start"], rules["end"]]:
        raise UserError(f"the tokenizer in {folder} does not frame texts as BERT's does: no graph can hold it.")
    model = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    stands = {token: chr(PRIVATE_USE + place) for place, token in enumerate(sorted(rules["added"]))}
    table: dict[str, str] = {}
    classes: dict[str, str] = {"removed": "", "apart": ""}
    jamo = any(ord(letter) in JAMO for piece in model["vocab"] for letter in piece)
    for first, last, rule in _spans(rules["ranges"]):
        # Without these letters in the vocabulary a word of syllables is unknown as it stands.
        if rule == "kept" or (rule == "decomposed" and not jamo):
            continue
        if last - first < SMALL_RANGE or rule not in classes:
            table |= {chr(code): RULES[rule](chr(code)) for code in range(first, last + 1)}
        else:
            # Those that stand for added tokens are last in the table's say, and come through.
            first = max(first, PRIVATE_USE + len(stands)) if first <= PRIVATE_USE <= last else first
            classes[rule] += rf"\x{{{first:x}}}-\x{{{last:x}}}"
    table |= rules["changed"]
    table |= dict.fromkeys(stands.values(), "")
    _check(folder, rules["ranges"], ["\0", *stands.values()])
    return TextRules(
        table=table | {token: f" {stand} " for token, stand in stands.items()},
        removed=classes["removed"],
        apart=classes["apart"],
        added=stands,
        vocabulary=model["vocab"] | {stand: rules["added"][token] for token, stand in stands.items()},
        unknown=model["unk_token"],
        prefix=model["continuing_subword_prefix"],
        longest=model["max_input_chars_per_word"],
        start=rules["start"],
        end=rules["end"],
        padding=rules["padding"],
    )


def _spans(ranges: list[list[str | int]]) -> Iterator[tuple[int, int, str]]:
    """First and last code of each range and its rule; Hangul stops where its syllables do."""
    ends = [int(start) - 1 for start, _ in ranges[1:]]
    for (start, rule), end in zip(ranges, [*ends, LAST_CODE], strict=True):
        yield int(start), min(end, HANGUL[-1]) if rule == "decomposed" else end, str(rule)


def _check(folder: Path, ranges: list[list[str | int]], letters: list[str]) -> None:
    """Raise `UserError` unless the tokenizer throws `letters` away, so that the graph may use them."""
    for letter in letters:
        rule = next(rule for first, last, rule in _spans(ranges) if first <= ord(letter) <= last)
        if rule != "removed":
            raise UserError(
                f"the tokenizer in {folder} keeps the character U+{ord(letter):04X}, which a tokenizer in the graph "
                "needs for itself: use the tokenizer's files."
            )
