"""The baseline that every score stands beside: word and character TF-IDF under a linear SVM."""

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import Pipeline, make_pipeline, make_union
from sklearn.svm import LinearSVC

from distill.examples import Split, Task

PAIR_SEPARATOR = " \n "


def _documents(split: Split) -> list[str]:
    if split.pairs is None:
        return list(split.texts)
    return [text + PAIR_SEPARATOR + pair for text, pair in zip(split.texts, split.pairs, strict=True)]


def bag_of_words(task: Task) -> Pipeline:
    """Fit on the train split: words and word pairs, and runs of 2 to 5 characters, sublinear counts."""
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"(?u)\b\w+\b")
    characters = TfidfVectorizer(analyzer="char", ngram_range=(2, 5), sublinear_tf=True)
    model = make_pipeline(make_union(words, characters), LinearSVC(random_state=0))
    return model.fit(_documents(task.train), task.train.labels)


def bag_of_words_score(task: Task, split: Split | None = None) -> float:
    """Accuracy, 0 to 1, on `split`, which is the test split unless another is given."""
    held_out = split or task.test
    return float(np.mean(bag_of_words(task).predict(_documents(held_out)) == np.array(held_out.labels)))
