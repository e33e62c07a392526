"""Answers texts with the student in this folder. Needs Python, onnxruntime and numpy, and nothing else.

python run.py "a text" "another"          one line of JSON a text; without texts, one for each line of the input
python run.py --pair "a second" "a text"  for tasks over pairs of texts
python run.py --model student.ort "a text"
python run.py --text-model "a text"       the tokenizer inside the graph (needs onnxruntime-extensions)
python run.py --check                     the same answers here as where the folder was made?
python run.py --time                      milliseconds on this machine
"""

import argparse
import json
import re
import sys
import unicodedata
from bisect import bisect_right
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

Array = NDArray[Any]
Answer = dict[str, Any]

HERE = Path(__file__).resolve().parent
TEXT_MODEL = "student.text.onnx"
ERRORS_ONLY = 3
NEAR = 0.05
"""Answers that are only numbers agree within this share of the largest."""
WARM_UP, ROUNDS = 5, 50


def read(path: Path) -> Any:
    """A JSON file's content."""
    return json.loads(path.read_text(encoding="utf-8"))


RULES: dict[str, Callable[[str], str]] = {
    "kept": lambda character: character,
    "removed": lambda character: "",
    "space": lambda character: " ",
    "apart": lambda character: f" {character} ",
    "decomposed": lambda character: unicodedata.normalize("NFD", character),
}
"""What a range of characters becomes before words are cut at spaces; `changed` lists the characters with their own."""


class Characters(dict[int, str]):
    """Code point → what the tokenizer makes of it, for `str.translate`; filled from the ranges as characters come."""

    def __init__(self, changed: dict[str, str], ranges: list[list[Any]]) -> None:
        super().__init__({ord(character): became for character, became in changed.items()})
        self._ranges = ranges
        self._starts = [start for start, _ in ranges]

    def __missing__(self, code: int) -> str:
        rule = self._ranges[bisect_right(self._starts, code) - 1][1]
        self[code] = RULES[rule](chr(code))
        return self[code]


class WordPiece:
    """A text's token ids, equal to those of the tokenizer that the student learned with."""

    def __init__(self, folder: Path) -> None:
        rules = read(folder / "wordpiece.json")
        model = read(folder / "tokenizer" / "tokenizer.json")["model"]
        self.vocabulary: dict[str, int] = model["vocab"]
        self._words = {number: piece for piece, number in [*self.vocabulary.items(), *rules["added"].items()]}
        self._unknown = self.vocabulary[model["unk_token"]]
        self._prefix, self._longest = model["continuing_subword_prefix"], model["max_input_chars_per_word"]
        self._start, self._end, self.padding = rules["start"], rules["end"], rules["padding"]
        self._added: dict[str, int] = rules["added"]
        longest_first = sorted(map(re.escape, self._added), key=len, reverse=True)
        self._splitter = re.compile(f"({'|'.join(longest_first)})" if longest_first else "(?!)")
        self._characters = Characters(rules["changed"], rules["ranges"])

    def pieces(self, text: str) -> list[int]:
        """Ids of a text's pieces, without those that frame it."""
        ids: list[int] = []
        for part in self._splitter.split(text):
            if part in self._added:
                ids.append(self._added[part])
                continue
            for word in part.translate(self._characters).split(" "):
                ids.extend(self._word(word))
        return ids

    def word(self, number: int) -> str:
        """The piece of an id; the number itself where a model knows more ids than its tokenizer."""
        return str(self._words.get(number, number))

    def _word(self, word: str) -> list[int]:
        """The longest piece that a word begins with, then that of the rest; one unknown where a rest has none."""
        if len(word) > self._longest:
            return [self._unknown]
        ids: list[int] = []
        place = 0
        while place < len(word):
            prefix = self._prefix if place else ""
            ends = range(len(word), place, -1)
            end = next((end for end in ends if prefix + word[place:end] in self.vocabulary), None)
            if end is None:
                return [self._unknown]
            ids.append(self.vocabulary[prefix + word[place:end]])
            place = end
        return ids

    def encode(self, text: str, pair: str | None, longest: int) -> tuple[list[int], list[int]]:
        """Ids and token types of a text or a pair, cut so that with their frame there are at most `longest`."""
        first = self.pieces(text)
        if pair is None:
            ids = [self._start, *first[: longest - 2], self._end]
            return ids, [0] * len(ids)
        second = self.pieces(pair)
        one, other = shares(len(first), len(second), longest - 3)
        head, tail = [self._start, *first[:one], self._end], [*second[:other], self._end]
        return head + tail, [0] * len(head) + [1] * len(tail)


def shares(one: int, other: int, room: int) -> tuple[int, int]:
    """How many pieces each text of a pair keeps: the longer one is cut first, then both alike."""
    if one + other <= room:
        return one, other
    short, long = min(one, other), max(one, other)
    short, long = (short, room - short) if short < room - short else (room // 2, room - room // 2)
    return (short, long) if one <= other else (long, short)


def softmax(scores: Array) -> Array:
    """Shares over the last axis."""
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


class Student:
    """A model file of this folder, ready to answer; `threads` of 0 are as many as the machine has cores."""

    def __init__(self, folder: Path = HERE, model: str | None = None, threads: int = 0) -> None:
        self.about = read(folder / "bundle.json")
        self.labels = read(folder / "labels.json")
        self.tokenizer = WordPiece(folder)
        self.model = model or next(iter(self.about["models"]))
        self.session = open_session(folder / self.model, threads)
        fixed = self.session.get_inputs()[0].shape[1]
        self._length = fixed if isinstance(fixed, int) else None
        self.longest = self._length or self.about["maximum_length"]

    def outputs(self, ids: list[int], types: list[int]) -> list[Array]:
        """The graph's outputs for one text, over its own tokens alone where they are by token."""
        padding = (self._length or len(ids)) - len(ids)
        feed = {
            "input_ids": ids + [self.tokenizer.padding] * padding,
            "attention_mask": [1] * len(ids) + [0] * padding,
            "token_type_ids": types + [0] * padding,
        }
        arrays = {name: np.array([values], dtype=np.int64) for name, values in feed.items()}
        found = [output[0] for output in self.session.run(None, arrays)]
        return [output[: len(ids)] for output in found] if self.about["by_token"] else found

    def answer(self, text: str, pair: str | None = None) -> Answer:
        """What the student says to a text or a pair, as plain JSON."""
        ids, types = self.tokenizer.encode(text, pair, self.longest)
        return self.read_answer(self.outputs(ids, types), ids, types)

    def read_answer(self, outputs: list[Array], ids: list[int], types: list[int]) -> Answer:
        """The graph's outputs as plain JSON."""
        return ANSWERS[self.about["head"]](self, outputs, ids, types)


def _classification(student: Student, outputs: list[Array], ids: list[int], types: list[int]) -> Answer:
    scores = softmax(outputs[0])
    return {"label": student.labels[int(scores.argmax())], "score": float(scores.max())}


def _regression(student: Student, outputs: list[Array], ids: list[int], types: list[int]) -> Answer:
    return {"value": float(outputs[0][0])}


def _vector(student: Student, outputs: list[Array], ids: list[int], types: list[int]) -> Answer:
    """The mean of a text's hidden states."""
    return {"vector": outputs[0].mean(axis=0).tolist()}


def _tokens(student: Student, outputs: list[Array], ids: list[int], types: list[int]) -> Answer:
    best = [student.labels[int(number)] for number in outputs[0].argmax(axis=-1)]
    words = [student.tokenizer.word(number) for number in ids]
    return {"tokens": [list(pair) for pair in zip(words[1:-1], best[1:-1], strict=True)]}


def _span(student: Student, outputs: list[Array], ids: list[int], types: list[int]) -> Answer:
    """The stretch of the second text with the best start and end together."""
    first = types.index(1) if 1 in types else 1
    starts, ends = (output[first:-1] for output in outputs)
    if not len(starts):
        return {"answer": "", "score": 0.0}
    both = np.triu(starts[:, None] + ends[None, :]) + np.where(np.tri(len(starts), k=-1), -np.inf, 0.0)
    start, end = np.unravel_index(int(both.argmax()), both.shape)
    words = [student.tokenizer.word(number) for number in ids[first + int(start) : first + int(end) + 1]]
    return {"answer": " ".join(words).replace(" ##", ""), "score": float(both.max())}


def _masks(student: Student, outputs: list[Array], ids: list[int], types: list[int]) -> Answer:
    """The likeliest piece for each `[MASK]`."""
    shares_at = [softmax(outputs[0][place]) for place, number in enumerate(ids) if number == student.about["mask"]]
    return {"masks": [[student.tokenizer.word(int(share.argmax())), float(share.max())] for share in shares_at]}


ANSWERS: dict[str, Callable[[Student, list[Array], list[int], list[int]], Answer]] = {
    "classification": _classification,
    "regression": _regression,
    "none": _vector,
    "tokens": _tokens,
    "spans": _span,
    "masked-lm": _masks,
}


def open_session(path: Path, threads: int, library: str | None = None) -> Any:
    """A session over a model file, with a library of further operators if one is named."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = ERRORS_ONLY
    if library:
        options.register_custom_ops_library(library)
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


class TextModel:
    """The file whose graph has the tokenizer inside: texts in, labels out."""

    def __init__(self, folder: Path = HERE, threads: int = 0) -> None:
        try:
            from onnxruntime_extensions import get_library_path
        except ImportError:
            sys.exit("the tokenizer in the graph needs more operators: pip install onnxruntime-extensions")
        if not (folder / TEXT_MODEL).is_file():
            sys.exit(f"this folder has no {TEXT_MODEL}: leave out --text-model.")
        self.model = TEXT_MODEL
        self._session = open_session(folder / TEXT_MODEL, threads, get_library_path())
        self._input = self._session.get_inputs()[0].name

    def answer(self, text: str, pair: str | None = None) -> Answer:
        """What the student says to a text, as plain JSON."""
        if pair is not None:
            sys.exit(f"{TEXT_MODEL} reads single texts: leave out --pair or --text-model.")
        label, scores = self._session.run(None, {self._input: np.array([text], dtype=object)})[:2]
        return {"label": str(label[0]), "score": float(scores[0].max())}


Answerer = Student | TextModel


def contents(answer: Any) -> tuple[list[str], list[float]]:
    """The words and the numbers of an answer, in order."""
    if isinstance(answer, str):
        return [answer], []
    if isinstance(answer, (int, float)):
        return [], [float(answer)]
    parts = [contents(part) for part in (answer.values() if isinstance(answer, dict) else answer)]
    return [word for words, _ in parts for word in words], [number for _, numbers in parts for number in numbers]


def same(expected: Answer, answer: Answer) -> tuple[bool, float]:
    """Whether two answers agree (in their words, or nearly in their numbers where there are no words), and how far
    their numbers are apart."""
    (words, numbers), (other_words, other_numbers) = contents(expected), contents(answer)
    if words != other_words or len(numbers) != len(other_numbers):
        return False, 0.0
    error = max((abs(a - b) for a, b in zip(numbers, other_numbers, strict=True)), default=0.0)
    return bool(words) or error <= NEAR * max(map(abs, numbers), default=1.0), error


def check(student: Answerer, folder: Path = HERE) -> tuple[int, int, float]:
    """How many of the examples get the checkpoint's answer, of how many, and the largest difference of a number."""
    found = [
        same(example["answer"], student.answer(example["text"], example.get("pair")))
        for example in read(folder / "examples.json")
    ]
    return sum(agrees for agrees, _ in found), len(found), max(error for _, error in found)


def time_ms(student: Answerer, folder: Path = HERE) -> list[float]:
    """Milliseconds from text to answer for the longest example, sorted."""
    example = max(read(folder / "examples.json"), key=lambda example: len(example["text"]))
    times = []
    for _ in range(WARM_UP + ROUNDS):
        start = perf_counter()
        student.answer(example["text"], example.get("pair"))
        times.append(1000 * (perf_counter() - start))
    return sorted(times[WARM_UP:])


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("texts", nargs="*", help="texts to answer")
    parser.add_argument("--pair", help="the second text of a pair")
    parser.add_argument("--model", help="a model file of this folder")
    parser.add_argument("--text-model", action="store_true", help=f"use {TEXT_MODEL}")
    parser.add_argument("--threads", type=int, default=0, help="0: as many as there are cores")
    parser.add_argument("--check", action="store_true", help="compare with the answers this folder was made with")
    parser.add_argument("--time", action="store_true", help="time one text")
    given = parser.parse_args()
    if given.model and not (HERE / given.model).is_file():
        parser.error(f"this folder has no {given.model}")
    student = TextModel(HERE, given.threads) if given.text_model else Student(HERE, given.model, given.threads)
    if given.check:
        agreeing, examples, error = check(student)
        print(f"{student.model}: {agreeing} of {examples} answers agree; numbers differ by at most {error:.1e}")
        return int(agreeing < read(HERE / "bundle.json")["models"][student.model]["agreeing"])
    if given.time:
        times = time_ms(student)
        print(f"{student.model}: median {median(times):.2f} ms, 90th percentile {times[int(0.9 * len(times))]:.2f} ms")
        return 0
    for text in given.texts or (line.rstrip("\n") for line in sys.stdin):
        print(json.dumps({"text": text, **student.answer(text, given.pair)}, ensure_ascii=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
