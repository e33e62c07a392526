"""Candidates worth proposing: a large random pool, scored at once and filtered by the upper end of its latency."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nas.additive import Additive
from students.space import SearchSpace

Codes = npt.NDArray[np.int64]
Milliseconds = npt.NDArray[np.float64]

Scorer = Callable[[Codes], tuple[Milliseconds, Milliseconds]]
"""Codes [n, genes] → predicted ms [n] and the upper end of their interval [n]; infinite for a member that is barred."""

ROUNDS_OF_MUTATION = 4

AMPLE = 10
"""Candidates for each place from which on there is something to choose from, where a limit or a rule bars many."""


@dataclass(frozen=True)
class Problem:
    """What a controller is asked to solve.

    Choosing among many by the low end or the middle of a prediction picks the under-estimates, so the *upper* end is
    what has to lie in `[window * budget_ms, budget_ms]`. The pool of docs/methods.md has about 100 members; scoring
    costs so little here that the default is far larger.
    """

    space: SearchSpace
    scorer: Scorer
    budget_ms: float
    pool_size: int = 20_000
    window: float = 0.9
    exploration_step: float = 0.05
    """By how much the random share of a controller that explores falls from episode to episode."""
    parameters: Callable[[Codes], npt.NDArray[np.float64]] | None = None
    """Codes [n, genes] → weights [n], for a controller that has them as an objective."""
    additive: Additive | None = None
    """What parts of members lose, for a controller that adds it up."""


@dataclass(frozen=True)
class Pool:
    """Candidates [n, genes] and their predicted ms [n]; `lower_share` is the window's lower end as it was used.

    `joined` [n]: which of them a controller brought itself.
    """

    codes: Codes
    latency_ms: Milliseconds
    lower_share: float
    joined: npt.NDArray[np.bool_]


def draw_pool(
    problem: Problem,
    wanted: int,
    seen: Sequence[Sequence[int]],
    rng: np.random.Generator,
    join: Codes | None = None,
) -> Pool:
    """Draw a pool in which at least `wanted` candidates lie, if the space has so many, none of them in `seen`.

    Members that a controller wants to `join` it do so where they lie in the window as well.

    The window's lower end falls by tenths of the budget until enough lie inside. Where even the whole range
    below the budget holds too few, mutants of the members nearest to it join: a random draw hardly ever meets a tight
    budget, nor a rule.
    Where nothing at all is surely below it, the fastest stand in, since the shortlist is timed in any case.
    """
    space = problem.space
    join = np.zeros((0, len(space.genes)), dtype=np.int64) if join is None else join
    codes = np.concatenate([space.sample(problem.pool_size, rng), space.enumerate_extremes(), join])
    fresh, latency, upper = _scored(problem, codes, seen)
    for _ in range(ROUNDS_OF_MUTATION):
        below = upper <= problem.budget_ms
        inside = below & (upper >= problem.window * problem.budget_ms)
        # Where a limit or a rule bars many, a window that holds just enough leaves nothing to choose from.
        barred = not np.isfinite(upper).all()
        if not len(fresh) or (below.sum() >= wanted and not (barred and inside.sum() < AMPLE * wanted)):
            break
        allowed = np.flatnonzero(np.isfinite(upper)) if np.isfinite(upper).any() else np.arange(len(fresh))
        order = np.argsort(np.abs(upper[allowed] - problem.budget_ms), kind="stable")
        nearest = fresh[allowed[order[: max(wanted, 200)]]]
        mutants = [space.mutate(nearest, rng, 1.5 / nearest.shape[1]) for _ in range(20)]
        fresh, latency, upper = _scored(problem, np.concatenate([fresh, *mutants]), seen)
    brought = {tuple(code) for code in join.tolist()}
    joined = np.array([tuple(code) in brought for code in fresh.tolist()], dtype=bool)
    chosen, share = _in_window(problem, wanted, upper)
    return Pool(fresh[chosen], latency[chosen], share, joined[chosen])


def _scored(problem: Problem, codes: Codes, seen: Sequence[Sequence[int]]) -> tuple[Codes, Milliseconds, Milliseconds]:
    unique = np.unique(codes, axis=0)
    known = {tuple(code) for code in seen}
    fresh = unique[np.array([tuple(code) not in known for code in unique.tolist()], dtype=bool)]
    latency, upper = problem.scorer(fresh) if len(fresh) else (np.empty(0), np.empty(0))
    return fresh, latency, upper


def _in_window(problem: Problem, wanted: int, upper: Milliseconds) -> tuple[npt.NDArray[np.int64], float]:
    """Positions of those whose upper end lies in the window, and its lower end."""
    below = upper <= problem.budget_ms
    if not below.any():
        fastest = np.argsort(upper, kind="stable")[:wanted]
        return fastest[np.isfinite(upper[fastest])], 0.0
    share = problem.window
    while True:
        inside = below & (upper >= share * problem.budget_ms)
        if inside.sum() >= wanted or share == 0.0:
            return np.flatnonzero(inside), share
        share = max(0.0, round(share - 0.1, 6))
