"""Boosted trees for small tables: grown without chance, kept as plain JSON."""

import json
from typing import Any

import numpy as np
import xgboost

from predictor.physics import Matrix, Vector

EXACT_ROWS = 5000
"""Beyond it splits are sought between bins: seconds in place of minutes at 50,000 rows."""

FEWEST_ROWS = 5
"""Weight that each side of a split must keep: below it, splits of 100 rows learn noise."""


def grow(
    features: Matrix, target: Vector, weights: Vector, *, rounds: int, depth: int, rate: float, shrinkage: float
) -> xgboost.Booster:
    """Trees for `target` [n] from `features` [n, f]; no rows or columns are drawn, so equal input gives equal trees."""
    parameters = {
        "max_depth": depth,
        "eta": rate,
        "reg_lambda": shrinkage,
        "min_child_weight": FEWEST_ROWS,
        "tree_method": "exact" if len(target) <= EXACT_ROWS else "hist",
        "base_score": 0.0,
        "nthread": 1,
        "verbosity": 0,
    }
    # Starting more threads takes longer than a table of a few hundred rows.
    data = xgboost.DMatrix(features.astype(np.float32), label=target, weight=weights, nthread=1)
    return xgboost.train(parameters, data, num_boost_round=rounds)


def sum_of_leaves(booster: xgboost.Booster, features: Matrix, threads: int) -> Vector:
    """What the trees say [n] of `features` [n, f]; the number of threads does not change it."""
    booster.set_param({"nthread": threads})
    return np.asarray(booster.inplace_predict(features.astype(np.float32)), dtype=np.float64)


def to_json(booster: xgboost.Booster) -> dict[str, Any]:
    """XGBoost's own documented JSON model."""
    value: dict[str, Any] = json.loads(booster.save_raw("json"))
    return value


def from_json(value: dict[str, Any]) -> xgboost.Booster:
    """Inverse of `to_json`: predictions are equal to the bit."""
    booster = xgboost.Booster()
    booster.load_model(bytearray(json.dumps(value).encode()))
    return booster


def shifted(booster: xgboost.Booster, column: int, by: float) -> xgboost.Booster:
    """Trees that say of rows whose `column` is larger by `by` what these say of the rows as they were."""
    value = to_json(booster)
    for tree in value["learner"]["gradient_booster"]["model"]["trees"]:
        tree["split_conditions"] = [
            # Of a leaf, which has no children, the same list holds its value.
            condition + by * (child >= 0 and split == column)
            for condition, child, split in zip(
                tree["split_conditions"], tree["left_children"], tree["split_indices"], strict=True
            )
        ]
    return from_json(value)
