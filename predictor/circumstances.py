"""What was learnt of one pair of threads and precision, from its own measurements or from those of another pair."""

from copy import copy
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from predictor.features import FEATURES, TERM_COUNT, feature_table
from predictor.observation import Rows, per_workload
from predictor.physics import Matrix, Vector, fit_relative
from predictor.ranges import Ranges
from predictor.regressor import LatencyRegressor

FEWEST_WHOLE = 10
"""Whole students that a law of their own needs: fewer leave nothing to cross-validate."""

FEWEST_ADAPTED = 3
"""Whole students that another pair's law is moved by: fewer cannot tell the machine's scale from a single odd one."""

MOVED_SHARE = 0.9
"""Of the error of a law of its own: below it another pair's law takes its place. That was moved in the way, of many,
that these very students like best, which flatters its error by some per cent."""

PART_WEIGHT = 0.5
"""Weight of a stack beside a whole student, which is what will be asked for."""

SCALE_STEPS = 5

BEYOND = [place for place, name in enumerate(FEATURES[:TERM_COUNT]) if "_beyond_" in name]
"""Terms of what lies beyond a size."""

BEYOND_SHARE = 0.05
"""Of the rows: so many have to lie beyond a size. What few rows say of it would be drawn out to models ten times as
large."""

STARTS = ("products", "attentions", "norms", "gathers", "depthwises", "calls")
"""Terms that count what is started. Another runtime starts things faster or slower, another precision computes products
faster or slower; neither says much of all else."""

COMMON_SCALE_WEIGHT = 0.0025
"""Of saying that a kind of work scales as the whole does, beside one student: a belief off by 100 % against 5 %."""


@dataclass(frozen=True)
class CircumstanceModel:
    """What was learnt for one pair of threads and precision."""

    regressor: LatencyRegressor
    """Of `features.feature_table`'s columns, the first `TERM_COUNT` of which are its law's."""
    ranges: Ranges
    part_scale: float
    """How long stacks of blocks take beside the law of whole students: about 0.97, since they miss what is between."""


def _part_scale(rows: Rows, terms: Matrix) -> float:
    """Alternate between the law of all rows and the scale of its stacks until they agree; `terms` are the law's."""
    parts = ~rows.whole
    scale = 1.0
    if not parts.any():
        return scale
    weights = rows.weights * np.where(parts, PART_WEIGHT, 1.0)
    for _ in range(SCALE_STEPS):
        law = fit_relative(terms, np.where(parts, rows.latency_ms / scale, rows.latency_ms), weights)
        scale = float(np.exp(np.median(np.log(rows.latency_ms[parts] / (terms[parts] @ law)))))
    return scale


def fitted(rows: Rows, seed: int) -> CircumstanceModel:
    """A law of these rows' own."""
    features = per_workload(rows, feature_table)
    rare = [place for place in BEYOND if (features[:, place] > 0).mean() < BEYOND_SHARE]
    features[:, rare] = 0.0
    scale = _part_scale(rows, features[:, :TERM_COUNT])
    regressor = LatencyRegressor(terms=TERM_COUNT, random_state=seed)
    regressor.fit(
        features,
        np.where(rows.whole, rows.latency_ms, rows.latency_ms / scale),
        rows.weights * np.where(rows.whole, 1.0, PART_WEIGHT),
        groups=rows.groups,
        learn=rows.whole,
    )
    return CircumstanceModel(regressor, Ranges.of(rows), scale)


def _kinds() -> npt.NDArray[np.bool_]:
    """Which terms are of each kind of work [`TERM_COUNT`, 3]: products, starts, all else."""
    names = FEATURES[:TERM_COUNT]
    products, starts = [name.startswith("product_") for name in names], [name in STARTS for name in names]
    return np.column_stack([products, starts, ~np.logical_or(products, starts)])


def _scaled_by_kind(regressor: LatencyRegressor, features: Matrix, latency: Vector) -> LatencyRegressor:
    """The regressor with one factor on its law's coefficients for each kind of work.

    From fp32 to int8 products take a fraction, all else as long as before and starts longer: one factor is wrong for
    all of them, and a few students cannot say it coefficient by coefficient.
    """
    law, terms = regressor.law_, features[:, :TERM_COUNT]
    kinds = _kinds()
    spent = (terms * law.coefficients) @ kinds
    common = float(np.median(latency / spent.sum(axis=1)))
    factors = fit_relative(
        np.vstack([spent, np.eye(kinds.shape[1])]),
        np.concatenate([latency, np.full(kinds.shape[1], common)]),
        np.concatenate([np.ones(len(latency)), np.full(kinds.shape[1], COMMON_SCALE_WEIGHT)]),
    )
    scaled = copy(regressor)
    scaled.law_ = law.scaled_to(law.coefficients * (kinds @ factors), terms)
    return scaled


def adapted(base: CircumstanceModel, rows: Rows) -> CircumstanceModel:
    """The base moved to where these few whole students were measured; blocks and totals that it knows stay known."""
    whole = np.flatnonzero(rows.whole)
    features, latency = per_workload(rows, feature_table)[whole], rows.latency_ms[whole]
    scaled = _scaled_by_kind(base.regressor, features, latency)
    regressor = scaled.adapt(features, latency, rows.weights[whole])
    return CircumstanceModel(regressor, base.ranges.on([rows.workloads[row] for row in whole]), base.part_scale)


def fitted_or_adapted(base: CircumstanceModel, rows: Rows, seed: int) -> CircumstanceModel:
    """A law of these rows alone, or the base moved to them where that errs clearly less on students left out.

    The moved one has the base's many measurements behind it where these are few.
    """
    moved = adapted(base, rows)
    if rows.whole_students < FEWEST_WHOLE:
        return moved
    own = fitted(rows, seed)
    clearly = moved.regressor.residuals_.mean() < MOVED_SHARE * own.regressor.residuals_.mean()
    return moved if clearly else own
