"""Whether the tokenizer inside the graph gives the ids that `transformers` gives, on real texts and on hard ones.

    python benchmarks/tokenizer_agreement.py --tokenizer CHECKPOINT texts.txt

One text a line, or a Parquet file with a column `text`; at most 20,000 texts of all files together are read, evenly.
Beside them come 500 generated hard ones of ten classes, and every character that Unicode has, between two letters.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import onnxruntime
import onnxruntime_extensions
import pandas as pd
import tokenizers
import transformers
import typer

from export.builder import Array
from export.student import load_tokenizer
from export.tokenizer_graph import ids_graph
from export.tokenizer_ids import IDS, TEXTS
from runs.errors import UserError
from runs.files import write_json_atomic

RESULT = Path(__file__).parent / "results" / "tokenizer_agreement.json"
TEXT_LIMIT, HARD, BATCH, SHOWN = 20_000, 500, 100, 50
LONG = 10_000
PACKAGES = (onnxruntime, onnxruntime_extensions, tokenizers, transformers)

EMOJI = ["😀", "👩\u200d👩\u200d👧", "👍🏽", "🇩🇪", "❤️", "1️⃣", "🏴\U000e0067\U000e0062\U000e007f"]
WORDS = [
    "the",
    "naïve",
    "café",
    "costs",
    "12.50",
    "for",
    "İstanbul",
    "ΣΑΣ",
    "straße",
    "don't",
    "e-mail",
    "@user",
    "#tag",
]


def letters(rng: np.random.Generator, first: int, last: int, count: int) -> str:
    """Random characters of a stretch of Unicode, spaces among them."""
    codes = rng.integers(first, last + 1, count)
    return "".join(" " if rng.random() < 0.15 else chr(code) for code in codes)


def words(rng: np.random.Generator, count: int) -> list[str]:
    """Random ones of `WORDS`."""
    return [WORDS[place] for place in rng.integers(len(WORDS), size=count)]


def with_marks(rng: np.random.Generator) -> str:
    """Letters with combining marks after any of them, several in a row too."""
    return "".join(
        letter + "".join(chr(code) for code in rng.integers(0x300, 0x370, rng.integers(0, 3)))
        for letter in " ".join(words(rng, 6))
    )


def with_controls(rng: np.random.Generator) -> str:
    """Control, format and odd space characters between letters, NUL among them."""
    strange = [
        *map(chr, range(0x20)),
        *map(chr, range(0x7F, 0xA1)),
        *"\u200b\u200d\u2028\u2029\ufeff\u3000\u00ad\ufffd",
    ]
    return "".join(letter + strange[rng.integers(len(strange))] for letter in " ".join(words(rng, 4)))


def with_tokens(rng: np.random.Generator) -> str:
    """Tokens of the tokenizer's own spelled out, whole, broken and glued to words."""
    spelled = [
        "[SEP]",
        "[CLS]",
        "[MASK]",
        "[PAD]",
        "[UNK]",
        "[sep]",
        "[ SEP]",
        "[SEP",
        "##ing",
        "\ue000",
        "[SE\ue001P]",
    ]
    parts = words(rng, 5) + [spelled[place] for place in rng.integers(len(spelled), size=5)]
    return ["", " "][rng.integers(2)].join(parts[place] for place in rng.permutation(len(parts)))


def long_text(rng: np.random.Generator) -> str:
    """10,000 characters: one word, many words, or one character after the other of everything."""
    kinds: list[Callable[[], str]] = [
        lambda: chr(rng.integers(0x61, 0x7B)) * LONG,
        lambda: " ".join(words(rng, LONG)),
        lambda: letters(rng, 0x21, 0x2FFF, LONG),
        lambda: "!?" * LONG,
        lambda: " " * LONG,
    ]
    return kinds[rng.integers(len(kinds))]()[:LONG]


def near_the_limit(rng: np.random.Generator) -> str:
    """Words about as long as a word may be, of letters that lose or gain a character on the way."""
    letter = ["a", "é", "e\u0301", "가", "\u00ad", "ß", "İ"][rng.integers(7)]
    return " ".join(letter * int(count) for count in rng.integers(30, 105, 3))


CLASSES: dict[str, Callable[[np.random.Generator], str]] = {
    "emoji": lambda rng: " ".join(words(rng, 4)) + "".join(EMOJI[place] for place in rng.integers(len(EMOJI), size=5)),
    "combining marks": with_marks,
    "CJK": lambda rng: (
        letters(rng, 0x2E80, 0x9FFF, 20) + letters(rng, 0xF900, 0xFAFF, 5) + letters(rng, 0x20000, 0x2A6DF, 5)
    ),
    "Hangul": lambda rng: letters(rng, 0xAC00, 0xD7A3, 20) + letters(rng, 0x1100, 0x11FF, 10),
    "control characters": with_controls,
    "empty": lambda rng: ["", " ", "\n\t ", "\u200b", "\u0301", "\x00"][rng.integers(6)],
    "10,000 characters": long_text,
    "spelled tokens": with_tokens,
    "word length": near_the_limit,
    "any characters": lambda rng: letters(rng, 0x20, 0xD7FF, 30) + letters(rng, 0xE000, 0x10FFFF, 10),
}
"""Class → one random hard text of it."""


def hard_texts(count: int, seed: int = 0) -> Iterator[tuple[str, str]]:
    """`count` pairs of class and text, the classes in turn; always the same for a seed."""
    rng = np.random.default_rng(seed)
    names = list(CLASSES)
    for number in range(count):
        name = names[number % len(names)]
        yield name, CLASSES[name](rng)


def every_character() -> Iterator[tuple[str, str]]:
    """All of Unicode but surrogates, a few to a text so that none is cut off, each inside a word."""
    codes = [code for code in range(0x110000) if not 0xD800 <= code <= 0xDFFF]
    for start in range(0, len(codes), 20):
        yield "every character", " ".join(f"a{chr(code)}b" for code in codes[start : start + 20])


def given_texts(paths: Sequence[Path]) -> Iterator[tuple[str, str]]:
    """At most `TEXT_LIMIT` texts of the files, evenly spread over all; the class is the folder's or file's name."""
    pairs = [(f"{path.parent.name}/{path.name}", text) for path in paths for text in _texts(path)]
    if not pairs:
        raise UserError("there are no texts in these files: give one a line, or Parquet with a column `text`.")
    count = min(TEXT_LIMIT, len(pairs))
    for place in np.linspace(0, len(pairs) - 1, count).astype(int):
        yield pairs[place]


def _texts(path: Path) -> list[str]:
    if path.suffix == ".parquet":
        table = pd.read_parquet(path)
        if "text" not in table:
            raise UserError(f"{path} has no column `text`: leave it out.")
        return [str(text) for text in table["text"]]
    return [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


class InGraph:
    """The tokenizer in the graph, in a session."""

    def __init__(self, tokenizer: Path, maximum_length: int) -> None:
        options = onnxruntime.SessionOptions()
        options.register_custom_ops_library(onnxruntime_extensions.get_library_path())
        graph = ids_graph(tokenizer, maximum_length).SerializeToString()
        self._session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])

    def __call__(self, texts: Sequence[str]) -> dict[str, Array]:
        found = self._session.run(list(IDS), {TEXTS: np.array(texts, dtype=object)})
        return dict(zip(IDS, found, strict=True))


def differences(
    pairs: Iterator[tuple[str, str]], graph: InGraph, tokenizer: Any, length: int
) -> Iterator[dict[str, Any]]:
    """For each text: its class, and where ids, mask or types differ the text and the first place where they do."""
    while batch := list(islice(pairs, BATCH)):
        texts = [text for _, text in batch]
        expected = tokenizer(texts, truncation=True, max_length=length, padding=True, return_tensors="np")
        found = graph(texts)
        for row, (name, text) in enumerate(batch):
            yield {"class": name, **_difference(text, {key: (expected[key][row], found[key][row]) for key in IDS})}


def _difference(text: str, both: dict[str, tuple[Array, Array]]) -> dict[str, Any]:
    for key, (wanted, given) in both.items():
        if wanted.shape != given.shape:
            return {"text": text[:200], "output": key, "lengths": [len(wanted), len(given)]}
        if (wanted != given).any():
            place = int(np.argmax(wanted != given))
            return {"text": text[:200], "output": key, "place": place, "ids": [int(wanted[place]), int(given[place])]}
    return {}


def main(
    files: list[Path],
    tokenizer: Annotated[Path, typer.Option(help="a checkpoint folder with a tokenizer")],
    maximum_length: int = 128,
    output: Path = RESULT,
) -> None:
    """Compare, write what was found, and print its sum."""
    graph, reference = InGraph(tokenizer, maximum_length), load_tokenizer(tokenizer)
    sources = {"texts": given_texts(files), "hard": hard_texts(HARD), "every_character": every_character()}
    result: dict[str, Any] = {
        "tokenizer": tokenizer.name,
        "maximum_length": maximum_length,
        "versions": {package.__name__: package.__version__ for package in PACKAGES},
    }
    for source, pairs in sources.items():
        rows = list(differences(pairs, graph, reference, maximum_length))
        different = [row for row in rows if len(row) > 1]
        result[source] = {
            "compared": len(rows),
            "identical": len(rows) - len(different),
            "compared_by_class": dict(Counter(row["class"] for row in rows)),
            "different_by_class": dict(Counter(row["class"] for row in different)),
            "differences": different[:SHOWN],
        }
        typer.echo(f"{source}: {len(rows) - len(different)} of {len(rows)} identical")
    write_json_atomic(output, result)
    typer.echo(json.dumps({"written": str(output)}))


if __name__ == "__main__":
    try:
        typer.run(main)
    except UserError as problem:
        raise SystemExit(f"error: {problem}") from None
