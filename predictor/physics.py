"""Non-negative linear laws fitted to relative error, so that a 1 ms student counts as much as a 50 ms one."""

import numpy as np
import numpy.typing as npt
from scipy.optimize import nnls

Matrix = npt.NDArray[np.float64]
Vector = npt.NDArray[np.float64]

HUBER = 1.345
"""Residuals beyond this many standard deviations count linearly; 95 % efficient on normal noise (Huber 1964)."""

SMALLEST_SPREAD = 1e-3
"""A tenth of a percent: below it a residual is rounding, not an outlier."""


def weighted_median(values: Vector, weights: Vector) -> float:
    """The lower weighted median: a row of weight 2 counts as two rows."""
    order = np.argsort(values, kind="stable")
    total = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(total, total[-1] / 2)])


def spread(residuals: Vector, weights: Vector) -> float:
    """Standard deviation of normal noise whose median absolute value this is, blind to outliers."""
    return max(1.4826 * weighted_median(np.abs(residuals), weights), SMALLEST_SPREAD)


def _relative_nnls(terms: Matrix, latency: Vector, weights: Vector) -> Vector:
    """Minimise Σ weight · (prediction / latency − 1)² over coefficients ≥ 0."""
    root = np.sqrt(weights)
    rows = terms * (root / latency)[:, None]
    # Columns differ by orders of magnitude (one call, hundreds of MFLOP); unit columns keep the tolerance fair.
    norms = np.linalg.norm(rows, axis=0)
    norms[norms == 0] = 1.0
    solution, _ = nnls(rows / norms, root, maxiter=100 * terms.shape[1])
    return np.asarray(solution / norms, dtype=np.float64)


def fit_relative(
    terms: Matrix, latency: Vector, weights: Vector, *, limit: float = HUBER, robust_steps: int = 8
) -> Vector:
    """Coefficients [f] ≥ 0 of `terms` [n, f] for `latency` [n], with Huber weights on the relative residual.

    Residuals beyond `limit` standard deviations count linearly; the smaller it is, the nearer to a median.

    One process in five runs some per cent slower as a whole, so a few rows are always off by far more than the rest.
    """
    trust = np.ones(len(latency))
    coefficients = _relative_nnls(terms, latency, weights)
    for _ in range(robust_steps):
        residuals = terms @ coefficients / latency - 1.0
        bound = limit * spread(residuals, weights)
        trust = np.minimum(1.0, bound / np.maximum(np.abs(residuals), SMALLEST_SPREAD * limit))
        coefficients = _relative_nnls(terms, latency, weights * trust)
    return coefficients
