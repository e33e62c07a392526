"""How well scores rank students: Kendall's τ with its interval over students, beside what a second seed reaches."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
from protocol import Interval

Scores = npt.NDArray[np.float64]
"""Of students, the greater the better."""

DRAWS = 4000
COVERAGE = 0.95


def drawn_weights(students: int, draws: int = DRAWS, seed: int = 0) -> Scores:
    """How often each student is drawn in each draw with replacement [draws, students], the first draw all once."""
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(students, np.full(students, 1 / students), size=draws).astype(np.float64)
    return np.concatenate([np.ones((1, students)), drawn])


def tau(one: Scores, other: Scores, weights: Scores) -> Scores:
    """Kendall's τ-b [draws] of two scores [students] where each student counts as often as `weights` has it.

    Pairs of one student with itself are ties on both sides and count for nothing; 0 where all are ties.
    """
    ours, theirs = (np.sign(np.subtract.outer(scores, scores)) for scores in (one, other))

    def pairs(signs: Scores) -> Scores:
        found: Scores = np.einsum("ni,ij,nj->n", weights, signs, weights, optimize=True)
        return found

    sizes = np.sqrt(pairs(np.abs(ours)) * pairs(np.abs(theirs)))
    return np.divide(pairs(ours * theirs), sizes, out=np.zeros(len(weights)), where=sizes > 0)


def against_others(ranking: Mapping[int, Scores], truth: Scores, weights: Scores) -> Scores:
    """τ [draws] with the mean over all seeds but one of `truth` [seeds, students], averaged over which one is left out.

    `ranking` has the scores to hold against it by the seed that is left out, so that a seed of the truth itself can be
    held against the others.
    """
    taus = [tau(scores, np.delete(truth, seed, axis=0).mean(axis=0), weights) for seed, scores in ranking.items()]
    mean: Scores = np.stack(taus).mean(axis=0)
    return mean


def interval(draws: Scores) -> Interval:
    """The first draw, which is everybody once, with the interval of the others."""
    low, high = np.quantile(draws[1:], [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2])
    return Interval(float(draws[0]), float(low), float(high))


@dataclass(frozen=True)
class Standing:
    """τ of one way to rank, and by how much it is above each other way."""

    tau: Interval
    above: Mapping[str, Interval]


def standings(
    truth: Scores, rankings: Mapping[str, Scores], plain: tuple[str, ...]
) -> tuple[Interval, dict[str, Standing]]:
    """What one seed of the full distillation reaches against the others, and how each ranking [students] stands.

    `plain` ones are what the others are held against. Raises `ValueError` where there are no other seeds.
    """
    if len(truth) < 2:
        raise ValueError("one seed has no others to be held against")
    weights, seeds = drawn_weights(truth.shape[1]), range(len(truth))
    held = partial(against_others, truth=truth, weights=weights)
    one_seed = interval(held({seed: truth[seed] for seed in seeds}))
    found = {name: held(dict.fromkeys(seeds, scores)) for name, scores in rankings.items()}
    above = {
        name: {other: interval(draws - found[other]) for other in plain if other in found and other != name}
        for name, draws in found.items()
    }
    return one_seed, {name: Standing(interval(draws), above[name]) for name, draws in found.items()}
