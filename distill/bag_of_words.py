"""The baselines that every score stands beside, which know words and no order, one for each kind of task."""

import re
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import Ridge
from sklearn.pipeline import Pipeline, make_pipeline, make_union
from sklearn.svm import LinearSVC

from distill.encoding import stream
from distill.examples import Split, Task
from distill.kinds import KINDS
from distill.spans import span_scores
from distill.tags import entity_f1
from runs.registry import Registry

PAIR_SEPARATOR = " \n "
SENTENCE_END = re.compile(r"(?<=[.!?])\s+")


def _documents(split: Split) -> list[str]:
    if split.pairs is None:
        return list(split.texts)
    return [text + PAIR_SEPARATOR + pair for text, pair in zip(split.texts, split.pairs, strict=True)]


def _over_words(model: Any) -> Pipeline:
    """Words and word pairs, and runs of 2 to 5 characters, sublinear counts, under a linear model."""
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"(?u)\b\w+\b")
    characters = TfidfVectorizer(analyzer="char", ngram_range=(2, 5), sublinear_tf=True)
    return make_pipeline(make_union(words, characters), model)


def bag_of_words(task: Task) -> Pipeline:
    """A linear SVM fitted to the classes of the train split."""
    return _over_words(LinearSVC(random_state=0)).fit(_documents(task.train), task.train.labels)


BASELINES: Registry[Callable[[Task, Split, Any], float]] = Registry("task kind")
"""Kind → the score of its baseline on a split (task, split, tokenizer), fitted to the train split."""


@BASELINES.register("classification")
def of_classes(task: Task, split: Split, tokenizer: Any) -> float:
    """Accuracy of the SVM."""
    return float(np.mean(bag_of_words(task).predict(_documents(split)) == np.array(split.labels)))


@BASELINES.register("regression")
def of_numbers(task: Task, split: Split, tokenizer: Any) -> float:
    """Pearson's correlation of a ridge regression over the same words."""
    answers = _over_words(Ridge()).fit(_documents(task.train), task.train.labels).predict(_documents(split))
    return KINDS["regression"].scores(np.asarray(answers)[:, None], np.array(split.labels))["pearson"]


@BASELINES.register("tokens")
def of_tags(task: Task, split: Split, tokenizer: Any) -> float:
    """F1 where each word has the tag that it has most often in train, and a new one the most frequent of all."""
    seen: dict[str, Counter[int]] = defaultdict(Counter)
    for text, tags in zip(task.train.texts, task.train.labels, strict=True):
        for word, tag in zip(text.split(" "), tags, strict=True):
            seen[word][tag] += 1
    usual = sum(seen.values(), Counter[int]()).most_common(1)[0][0]
    best = {word: counts.most_common(1)[0][0] for word, counts in seen.items()}
    names = task.label_names
    said = [[names[best.get(word, usual)] for word in text.split(" ")] for text in split.texts]
    return entity_f1(said, [[names[tag] for tag in tags] for tags in split.labels])


@BASELINES.register("spans")
def of_sentences(task: Task, split: Split, tokenizer: Any) -> float:
    """F1 where the answer is the sentence that shares most with the question, by TF-IDF of the train split's texts."""
    assert task.train.pairs is not None and split.pairs is not None
    words = TfidfVectorizer(sublinear_tf=True).fit([*task.train.texts, *task.train.pairs])
    said = []
    for question, context in zip(split.texts, split.pairs, strict=True):
        sentences = SENTENCE_END.split(context)
        likeness = words.transform(sentences) @ words.transform([question]).T
        said.append(sentences[int(np.argmax(likeness.toarray()[:, 0]))])
    return span_scores(said, [[text for _, text in answers] for answers in split.labels])["f1"]


def _of_words(task: Task, split: Split, tokenizer: Any) -> float:
    """Inverse perplexity where every word is as likely as it is frequent in train, one more than seen (Laplace)."""
    train, held_out = (stream(tokenizer, part.texts, "causal-lm") for part in (task.train, split))
    counts = np.bincount(train, minlength=len(tokenizer)) + 1.0
    likely = np.log(counts / counts.sum())
    return float(np.exp(likely[held_out].mean()))


BASELINES.register("masked-lm")(_of_words)
BASELINES.register("causal-lm")(_of_words)


def bag_of_words_score(task: Task, split: Split | None = None, tokenizer: Any = None) -> float:
    """The baseline's score, 0 to 1, on `split`, which is the test split unless another is given.

    Language models need the tokenizer, since likelihoods of other tokens cannot be compared.
    """
    return BASELINES[task.kind](task, split or task.test, tokenizer)
