"""Boosted trees for small tables: grown without chance, kept as plain JSON."""

import json
from typing import Any

import numpy as np
import xgboost

from predictor.physics import Matrix, Vector

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
        "tree_method": "exact",
        "base_score": 0.0,
        "nthread": 1,
        "verbosity": 0,
    }
    data = xgboost.DMatrix(features.astype(np.float32), label=target, weight=weights)
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
