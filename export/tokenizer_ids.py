"""Operators that cut texts into the token ids of a tokenizer of BERT's kind.

Strings are cut and joined by operators of ONNX Runtime and onnxruntime-extensions. The extension's own BertTokenizer is
not among them: it leaves accents on letters, and words with one become unknown.
"""

import json
import re
from collections.abc import Sequence

from onnx import TensorProto, helper

from export.builder import INT64, GraphBuilder
from export.tokenizer_rules import TextRules

TEXTS, PREFIX = "texts", "tokenizer."

IDS = {"input_ids": PREFIX + "ids", "attention_mask": PREFIX + "mask", "token_type_ids": PREFIX + "types"}
"""A model's input → the tensor that is made for it."""

EXTENSIONS, CONTRIB, CLASSIC = "ai.onnx.contrib", "com.microsoft", "ai.onnx.ml"
"""Domains of onnxruntime-extensions, of ONNX Runtime's own operators, and of ONNX's for tables."""

CLASSIC_VERSION = 3
BOOL = int(TensorProto.BOOL)

FRAME = 2
"""Tokens that stand around a text's own."""


def add_ids(builder: GraphBuilder, rules: TextRules, longest: int, padded: int | None) -> None:
    """Add what makes the tensors of `IDS` from `texts`; rows are `padded` long, or as the longest text."""
    numbers, counts = _add_pieces(builder, rules, *_add_words(builder, rules))
    starts = builder.node("CumSum", [counts, builder.integer(0)], PREFIX + "starts", exclusive=1)
    # What lies outside a text points at the frame and padding that are put behind all pieces.
    ends = builder.integers(rules.start, rules.end, rules.padding)
    store = builder.node("Concat", [numbers, ends], PREFIX + "store", axis=0)
    kept = builder.node("Min", [counts, builder.integer(longest - FRAME)], PREFIX + "kept")
    if padded is None:
        most = builder.node("ReduceMax", [kept], PREFIX + "most", keepdims=0)
        length = builder.node("Add", [most, builder.integer(FRAME)], PREFIX + "length")
    else:
        length = builder.integer(padded)
    places = builder.node("Range", [builder.integer(0), length, builder.integer(1)], PREFIX + "places")
    first = builder.node("Unsqueeze", [starts, builder.integers(1)], PREFIX + "first")
    behind = builder.node("Sub", [places, builder.integer(1)], PREFIX + "behind")
    own = builder.node("Add", [first, behind], PREFIX + "own")
    last = builder.node("Unsqueeze", [kept, builder.integers(1)], PREFIX + "last")
    ending = builder.node("Add", [last, builder.integer(1)], PREFIX + "ending")
    at_start = builder.node("Equal", [places, builder.integer(0)], PREFIX + "at_start")
    at_end = builder.node("Equal", [places, ending], PREFIX + "at_end")
    inside = builder.node("LessOrEqual", [places, ending], PREFIX + "inside")
    start, end, padding = (builder.integer(place) for place in (-3, -2, -1))
    index = builder.node("Where", [at_end, end, own], PREFIX + "own_or_end")
    index = builder.node("Where", [inside, index, padding], PREFIX + "own_or_end_or_padding")
    index = builder.node("Where", [at_start, start, index], PREFIX + "index")
    builder.node("Gather", [store, index], IDS["input_ids"])
    mask = builder.node("Cast", [inside], IDS["attention_mask"], to=INT64)
    builder.node("Sub", [mask, mask], IDS["token_type_ids"])


def _add_words(builder: GraphBuilder, rules: TextRules) -> tuple[str, str]:
    """Texts [batch] → all their words in a row, added tokens as their stand-ins, and the text that each is of."""
    for domain in (EXTENSIONS, CONTRIB):
        builder.require(domain)
    builder.require(CLASSIC, CLASSIC_VERSION)
    longest_first = sorted(rules.added, key=len, reverse=True)
    # An added token or any one character; it is this operator because it does not stop at a NUL.
    expression = "(?s)" + "|".join([*map(re.escape, longest_first), "."])
    parts = builder.node(
        "Tokenizer",
        [TEXTS],
        PREFIX + "parts",
        domain=CONTRIB,
        tokenexp=expression,
        mark=0,
        mincharnum=1,
        pad_value="",
    )
    place = builder.node(
        "LabelEncoder",
        [parts],
        PREFIX + "place",
        domain=CLASSIC,
        keys_strings=list(rules.table),
        values_int64s=list(range(len(rules.table))),
        default_int64=-1,
    )
    table = add_strings(builder, PREFIX + "table", list(rules.table.values()))
    plain = builder.node("Less", [place, builder.integer(0)], PREFIX + "plain")
    changed = builder.node("Gather", [table, place], PREFIX + "changed")
    became = builder.node("Where", [plain, parts, changed], PREFIX + "became")
    # A space before each text, since nothing at all cannot be joined.
    rows = _filled(builder, 0, TEXTS, "rows")
    space = add_strings(builder, PREFIX + "space", [" "])
    column = builder.node(
        "Unsqueeze",
        [builder.node("Gather", [space, rows], PREFIX + "spaces"), builder.integers(1)],
        PREFIX + "column",
    )
    whole = builder.node("Concat", [column, became], PREFIX + "whole", axis=1)
    nothing = add_strings(builder, PREFIX + "nothing", [""])
    text = builder.node("StringJoin", [whole, nothing, builder.integers(1)], PREFIX + "text", domain=EXTENSIONS)
    for name, letters, instead in (("removed", rules.removed, ""), ("apart", rules.apart, r" \1 ")):
        if letters:
            pattern = add_strings(builder, f"{PREFIX}{name}_pattern", [f"([{letters}])"])
            rewrite = add_strings(builder, f"{PREFIX}{name}_rewrite", [instead])
            given = [text, pattern, rewrite]
            text = builder.node("StringRegexReplace", given, PREFIX + name, domain=EXTENSIONS, global_replace=1)
    skipping = builder.node("Constant", [], PREFIX + "skipping", value=helper.make_tensor("", BOOL, [1], [True]))
    names = tuple(PREFIX + name for name in ("word_places", "words", "word_shape"))
    places, words, _ = builder.nodes("StringSplit", [text, space, skipping], names, domain=EXTENSIONS)
    return words, builder.node("Gather", [places, builder.integer(0)], PREFIX + "word_rows", axis=1)


def _add_pieces(builder: GraphBuilder, rules: TextRules, words: str, rows: str) -> tuple[str, str]:
    """Words and their texts → the ids of all texts' pieces in a row, and how many pieces each text has [batch]."""
    one, zero = builder.integer(1), builder.integer(0)
    # A last word of no text's, since nothing at all cannot be cut.
    dummy = add_strings(builder, PREFIX + "dummy", [rules.unknown])
    words = builder.node("Concat", [words, dummy], PREFIX + "words_and_dummy", axis=0)
    size = builder.node("Size", [words], PREFIX + "size")
    beyond = builder.node("Add", [size, one], PREFIX + "beyond")
    each = builder.node("Range", [zero, beyond, one], PREFIX + "each_word")
    names = tuple(PREFIX + name for name in ("pieces", "bounds", "piece_starts", "piece_ends"))
    pieces, bounds, *_ = builder.nodes(
        "WordpieceTokenizer",
        [words, each],
        names,
        domain=EXTENSIONS,
        vocab=json.dumps(rules.vocabulary),
        suffix_indicator=rules.prefix,
        unknown_token=rules.unknown,
        max_input_chars_per_word=rules.longest,
    )
    numbers = builder.node(
        "LabelEncoder",
        [pieces],
        PREFIX + "numbers",
        domain=CLASSIC,
        keys_strings=list(rules.vocabulary),
        values_int64s=list(rules.vocabulary.values()),
        default_int64=rules.vocabulary[rules.unknown],
    )
    # The operator gives the pieces before the unknown rest of a word too, where there must be one unknown alone.
    stops = builder.node("Slice", [bounds, builder.integers(1), builder.integers(2**31)], PREFIX + "stops")
    last = builder.node("Sub", [stops, one], PREFIX + "last_piece")
    unknown_id = builder.integer(rules.vocabulary[rules.unknown])
    endings = builder.node("Gather", [numbers, last], PREFIX + "endings")
    unknown = builder.node("Equal", [endings, unknown_id], PREFIX + "unknown")
    none = _filled(builder, 0, numbers, "none")
    marks = _filled(builder, 1, last, "marks")
    ending = builder.node("ScatterElements", [none, last, marks], PREFIX + "is_last", axis=0)
    word = builder.node("CumSum", [ending, zero], PREFIX + "word_of_piece", exclusive=1)
    whole = builder.node("Not", [builder.node("Gather", [unknown, word], PREFIX + "of_unknown")], PREFIX + "of_known")
    keep = builder.node("Or", [whole, builder.node("Cast", [ending], PREFIX + "ends_word", to=BOOL)], PREFIX + "keep")
    numbers = builder.node("Compress", [numbers, keep], PREFIX + "kept_numbers", axis=0)
    texts = builder.node("Shape", [TEXTS], PREFIX + "batch")
    rows = builder.node("Concat", [rows, texts], PREFIX + "rows_and_dummy", axis=0)
    rows = builder.node("Gather", [rows, word], PREFIX + "row_of_piece")
    rows = builder.node("Compress", [rows, keep], PREFIX + "row_of_kept", axis=0)
    shape = builder.node("Add", [texts, one], PREFIX + "batch_and_dummy")
    counts = builder.node("Expand", [builder.integers(0), shape], PREFIX + "no_pieces")
    ones = _filled(builder, 1, rows, "ones")
    counts = builder.node("ScatterElements", [counts, rows, ones], PREFIX + "all_counts", axis=0, reduction="add")
    counts = builder.node("Slice", [counts, builder.integers(0), builder.integers(-1)], PREFIX + "counts")
    return numbers, counts


def _filled(builder: GraphBuilder, value: int, like: str, name: str) -> str:
    """A vector of one number, as long as the vector `like`."""
    shape = builder.node("Shape", [like], f"{PREFIX}shape_for_{name}")
    return builder.node("Expand", [builder.integers(value), shape], PREFIX + name)


def add_strings(builder: GraphBuilder, name: str, values: Sequence[str]) -> str:
    """Add a constant vector of strings."""
    return builder.node("Constant", [], name, value_strings=[value.encode() for value in values])
