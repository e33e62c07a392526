"""How scores are compared: paired bootstrap over examples and seeds, the gap kept, a table with bag-of-words in it."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Scores = npt.NDArray[np.float64]
"""[seeds, examples] of one method on one test split: 1 where the answer was right, or any score that is averaged."""

CHUNK_DRAWS = 256


@dataclass(frozen=True)
class Interval:
    """A mean with the bootstrap interval around it."""

    mean: float
    low: float
    high: float

    @property
    def decided(self) -> bool:
        """Whether 0 lies outside: of a difference, whether its sign is known."""
        return self.low > 0 or self.high < 0


def as_scores(correct: npt.ArrayLike) -> Scores:
    """[examples] of one seed or [seeds, examples] → [seeds, examples]; ValueError for anything else or NaN."""
    scores = np.atleast_2d(np.asarray(correct, dtype=np.float64))
    if scores.ndim != 2 or 0 in scores.shape or not np.isfinite(scores).all():
        raise ValueError(f"scores must be finite, [seeds, examples] and not empty; these have shape {scores.shape}")
    return scores


def _bootstrap(scores: Scores, draws: int, coverage: float, seed: int) -> Interval:
    rng = np.random.default_rng(seed)
    seeds, examples = scores.shape
    means = []
    for start in range(0, draws, CHUNK_DRAWS):
        count = min(CHUNK_DRAWS, draws - start)
        # Both are drawn independently of each other, so the mean over drawn seeds comes first, example by example.
        over_seeds = scores[rng.integers(seeds, size=(count, seeds))].mean(axis=1)
        drawn = rng.integers(examples, size=(count, examples))
        means.append(np.take_along_axis(over_seeds, drawn, axis=1).mean(axis=1))
    tail = (1 - coverage) / 2
    low, high = np.quantile(np.concatenate(means), [tail, 1 - tail])
    return Interval(float(scores.mean()), float(low), float(high))


def mean_interval(correct: npt.ArrayLike, *, draws: int = 4000, coverage: float = 0.95, seed: int = 0) -> Interval:
    """The mean score with its interval over examples and seeds, both drawn again with replacement."""
    return _bootstrap(as_scores(correct), draws, coverage, seed)


def paired_bootstrap(
    ours: npt.ArrayLike, theirs: npt.ArrayLike, *, draws: int = 4000, coverage: float = 0.95, seed: int = 0
) -> Interval:
    """The difference ours - theirs with its interval.

    Both are [seeds, examples] on the same examples in the same order, with the same seeds in the same order; each draw
    takes the same examples and seeds of both, which is what makes small differences visible. A method without seeds
    (one row) is compared with every seed of the other.
    """
    first, second = as_scores(ours), as_scores(theirs)
    if first.shape[1] != second.shape[1]:
        raise ValueError(f"{first.shape[1]} examples cannot be paired with {second.shape[1]}")
    if first.shape[0] != second.shape[0] and 1 not in (first.shape[0], second.shape[0]):
        raise ValueError(f"{first.shape[0]} seeds cannot be paired with {second.shape[0]}")
    return _bootstrap(first - second, draws, coverage, seed)


def gap_kept(student: float, teacher: float, bag_of_words: float) -> float | None:
    """Share of the gap from bag-of-words to teacher that the student keeps; None where there is no gap to keep."""
    gap = teacher - bag_of_words
    return (student - bag_of_words) / gap if gap > 0 else None


def retained(student: float, teacher: float) -> float:
    """The student's score as a share of the teacher's."""
    return student / teacher


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}"


def score_table(
    methods: Mapping[str, npt.ArrayLike], teacher: npt.ArrayLike, bag_of_words: npt.ArrayLike, *, seed: int = 0
) -> str:
    """A Markdown table in percent: score, interval, share of teacher kept, gap kept, difference to the first method.

    All arrays are 1 for a right answer, [examples] or [seeds, examples], on the same test split in the same order.
    Bag-of-words and teacher stand in it always; where they are level, a line says that the task decides nothing.
    """
    top, base = float(as_scores(teacher).mean()), float(as_scores(bag_of_words).mean())
    rows: dict[str, npt.ArrayLike] = {"bag-of-words": bag_of_words, **methods, "teacher": teacher}
    reference = next(iter(methods), "teacher")
    lines = [
        f"| method | seeds | score | 95 % | of teacher | gap kept | minus {reference} |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, correct in rows.items():
        own = mean_interval(correct, seed=seed)
        difference = paired_bootstrap(correct, rows[reference], seed=seed)
        versus = "" if name == reference else f"{100 * difference.mean:+.1f} [{100 * difference.low:+.1f}, "
        versus += "" if name == reference else f"{100 * difference.high:+.1f}]"
        cells = [
            name,
            str(as_scores(correct).shape[0]),
            _percent(own.mean),
            f"{_percent(own.low)}–{_percent(own.high)}",
            _percent(retained(own.mean, top)),
            _percent(gap_kept(own.mean, top, base)),
            versus,
        ]
        lines.append("| " + " | ".join(cells) + " |")
    gap = paired_bootstrap(teacher, bag_of_words, seed=seed)
    if gap.low <= 0:
        lines += ["", "Bag-of-words is level with the teacher here: this task decides nothing."]
    return "\n".join(lines) + "\n"
