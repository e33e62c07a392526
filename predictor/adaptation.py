"""A law moved to another device by a few rows: its coefficients, shrunk towards one common scale of the old ones."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

from predictor.physics import HUBER, SMALLEST_SPREAD, Matrix, Vector, spread

STRENGTHS = np.geomspace(1e-6, 1e2, 17)
"""How strongly coefficients are held to the common scale, as a share of what the rows say about them together."""

NEWCOMERS = (0.0, 0.02, 0.1)
"""How much of a typical latency a term that the old device did without may take before it is held back."""

ROBUST_STEPS = 2
PRIOR_ROWS = 2
"""Old residuals count as much as so many new ones where they are larger: five rows say little about a width."""


@dataclass(frozen=True)
class Move:
    """How far coefficients may leave the common scale, and how well rows that were left out are then predicted.

    `freedom` [f] is one standard deviation of each coefficient beside the old device's; `strength` is infinite where
    the scale is all that changes. `left_out` [n] is predicted over measured, each row by a fit to the others.
    """

    freedom: Vector
    strength: float
    left_out: Vector


def _moves(old: Vector, means: Vector, terms: Matrix, latency: Vector, weights: Vector) -> Iterator[Move]:
    """Every way to move that is tried, from the most cautious on."""
    if not (terms @ old).any():
        raise ValueError("the law is 0 on every row: it cannot be moved by them.")
    root = np.sqrt(weights)
    rows, before = terms * (root / latency)[:, None], terms @ old
    scaled = (before * root / latency)[:, None]
    direction = scaled / np.linalg.norm(scaled)
    # Of one row alone nothing can be left out: what remains is then 0 over almost 0.
    leverage = np.minimum(direction[:, 0] ** 2, 1 - np.finfo(float).eps)
    missed = root - direction[:, 0] * (direction[:, 0] @ root)
    yield Move(np.zeros_like(old), np.inf, 1 - missed / (1 - leverage) / root)
    # Terms as they are on average where the law was learnt: a few rows may lack a term that others are full of. Only
    # of terms that were 0 there, such as those of sharing work where there was one thread, nothing else is known.
    typical = float(means @ old)
    usual = np.where(means > 0, means, terms.mean(axis=0))
    for newcomer in NEWCOMERS:
        freedom = np.maximum(old, newcomer * typical / np.where(usual > 0, usual, np.inf))
        free = rows * freedom
        # What the common scale can say is taken out first, so that it costs nothing.
        left, singular, _ = np.linalg.svd(free - direction @ (direction.T @ free), full_matrices=False)
        if not singular.any():
            continue
        said = left.T @ missed
        for share in STRENGTHS[::-1]:
            strength = float(share * (singular**2).sum())
            kept = singular**2 / (singular**2 + strength)
            hat = np.minimum((left**2 * kept).sum(axis=1) + leverage, 1 - np.finfo(float).eps)
            yield Move(freedom, strength, 1 - (missed - left @ (kept * said)) / (1 - hat) / root)


def robust_weights(move: Move, weights: Vector) -> Vector:
    """Weights [n] with less of it on rows that others cannot tell: one process in five is slower as a whole."""
    off = np.abs(move.left_out - 1)
    trusted: Vector = np.minimum(1.0, HUBER * spread(off, weights) / np.maximum(off, SMALLEST_SPREAD))
    return weights * trusted


def best_move(old: Vector, means: Vector, terms: Matrix, latency: Vector, weights: Vector) -> Move:
    """The move whose left-out rows are nearest to their measurements in the mean of the absolute relative error.

    `old` [f] are coefficients, `means` [f] the averages of their terms on the old device, `terms` [n, f] and the rest
    the rows of the new one.
    """
    trusted = weights
    for _ in range(1 + ROBUST_STEPS):
        tried = list(_moves(old, means, terms, latency, trusted))
        move = tried[int(np.argmin([left_out_error(one, trusted) for one in tried]))]
        trusted = robust_weights(move, weights)
    return move


def left_out_error(move: Move, weights: Vector) -> float:
    """Weighted mean of the absolute relative error over rows that were left out."""
    return float(np.average(np.abs(move.left_out - 1), weights=weights))


def moved(old: Vector, terms: Matrix, latency: Vector, weights: Vector, move: Move) -> Vector:
    """Coefficients [f] ≥ 0 after `move`."""
    root = np.sqrt(robust_weights(move, weights))
    rows, scaled = terms * (root / latency)[:, None], (terms @ old) * root / latency
    if np.isinf(move.strength):
        return old * float(scaled @ root / (scaled @ scaled))
    free = np.flatnonzero(move.freedom > 0)
    freedom, hold = move.freedom[free], np.sqrt(move.strength)
    # Unknown are the coefficients in units of their freedom, and the scale itself.
    system = np.block(
        [
            [rows[:, free] * freedom, np.zeros((len(rows), 1))],
            [hold * np.eye(len(free)), -hold * (old[free] / freedom)[:, None]],
        ]
    )
    solution, _ = nnls(system, np.concatenate([root, np.zeros(len(free))]), maxiter=100 * (len(free) + 1))
    coefficients = np.zeros_like(old)
    coefficients[free] = solution[:-1] * freedom
    return coefficients


def moved_residuals(old: Vector, left_out: Vector) -> Vector:
    """Absolute log residuals of the old device, as wide as those of the rows left out say."""
    new = np.abs(np.log(np.maximum(left_out, np.finfo(float).tiny)))
    typical = float(old.mean())
    if typical == 0:
        return np.sort(new)
    count = len(new)
    # The move was chosen among many on these very rows, which makes them look a little too good.
    seen = float(new.mean()) * (count + 2) / count
    width = (count * seen + PRIOR_ROWS * max(typical, seen)) / (count + PRIOR_ROWS)
    return old * (width / typical)
