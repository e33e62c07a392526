"""The predictor of one device profile: milliseconds of any student on any measured circumstances."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from devices.workload import Precision, Workload
from predictor.features import TERM_COUNT, additive_terms, feature_table
from predictor.observation import (
    Circumstances,
    Observation,
    Rows,
    Students,
    as_table,
    by_circumstances,
    circumstances,
    per_workload,
    take,
)
from predictor.physics import Vector, fit_relative
from predictor.ranges import Ranges
from predictor.regressor import LatencyRegressor
from predictor.signed import read_signed, write_signed
from runs.errors import UserError
from students.spec import EmbeddingBlock, LayerBlock, StudentSpec
from students.table import SpecTable

KIND, SCHEMA = "latency predictor", 1

FEWEST_WHOLE = 10
"""Whole students needed for each threads and precision: fewer leave nothing to cross-validate."""

PART_WEIGHT = 0.5
"""Weight of a stack beside a whole student, which is what will be asked for."""

SCALE_STEPS = 5
CHUNK = 100_000
"""Students scored at once, which bounds memory to a few hundred MB."""


@dataclass(frozen=True)
class CircumstanceModel:
    """What was learnt for one pair of threads and precision."""

    regressor: LatencyRegressor
    ranges: Ranges
    part_scale: float
    """How long stacks of blocks take beside the law of whole students: about 0.97, since they miss what is between."""


def _part_scale(rows: Rows) -> float:
    """Alternate between the law of all rows and the scale of its stacks until they agree."""
    parts = ~rows.whole
    scale = 1.0
    if not parts.any():
        return scale
    terms = per_workload(rows, lambda table, workload: additive_terms(table, workload)[0])
    weights = np.where(parts, PART_WEIGHT, 1.0)
    for _ in range(SCALE_STEPS):
        law = fit_relative(terms, np.where(parts, rows.latency_ms / scale, rows.latency_ms), weights)
        scale = float(np.exp(np.median(np.log(rows.latency_ms[parts] / (terms[parts] @ law)))))
    return scale


def _fit_rows(rows: Rows, pair: Circumstances, seed: int) -> CircumstanceModel:
    whole = np.flatnonzero(rows.whole)
    if len(set(rows.groups[whole])) < FEWEST_WHOLE:
        raise UserError(
            f"only {len(set(rows.groups[whole]))} whole students were measured with {_words(pair)}: a predictor needs "
            f"at least {FEWEST_WHOLE}."
        )
    if not (np.isfinite(rows.latency_ms) & (rows.latency_ms > 0)).all():
        raise UserError(f"a latency measured with {_words(pair)} is not a positive number: measure again.")
    scale = _part_scale(rows)
    regressor = LatencyRegressor(terms=TERM_COUNT, random_state=seed)
    regressor.fit(
        per_workload(rows, lambda table, workload: feature_table(table, workload)[0]),
        np.where(rows.whole, rows.latency_ms, rows.latency_ms / scale),
        np.where(rows.whole, 1.0, PART_WEIGHT),
        groups=rows.groups,
        learn=rows.whole,
    )
    ranges = Ranges.of(take(rows.table, whole), tuple(rows.workloads[row] for row in whole))
    return CircumstanceModel(regressor, ranges, scale)


def _words(pair: Circumstances) -> str:
    threads, precision = pair
    return f"{threads} thread{'s' if threads > 1 else ''} in {precision}"


@dataclass(frozen=True)
class LatencyPredictor:
    """Milliseconds of whole students; one law for each measured pair of threads and precision.

    Lengths and batch sizes between the measured ones are interpolated by the law's FLOPs, bytes and elements.
    """

    models: Mapping[Circumstances, CircumstanceModel]

    @classmethod
    def fit(cls, observations: Sequence[Observation], seed: int = 0) -> "LatencyPredictor":
        """Learn from stacks of blocks and whole students; equal observations and seed give equal predictions."""
        groups = by_circumstances(observations)
        if not groups:
            raise UserError("a latency predictor needs measurements, and there are none.")
        return cls({pair: _fit_rows(rows, pair, seed) for pair, rows in groups.items()})

    def _model(self, workload: Workload) -> CircumstanceModel:
        pair = circumstances(workload)
        if pair not in self.models:
            measured = ", ".join(map(_words, self.models))
            raise UserError(f"nothing was measured with {_words(pair)}, only with {measured}: profile the device so.")
        return self.models[pair]

    def predict(self, students: Students, workload: Workload) -> Vector:
        """Milliseconds [n]; a `UserError` for threads or a precision that were not measured."""
        regressor = self._model(workload).regressor

        def latencies(table: SpecTable) -> Vector:
            return regressor.predict(feature_table(table, workload)[0])

        return _in_chunks(as_table(students), latencies)

    def predict_interval(self, students: Students, workload: Workload, coverage: float = 0.9) -> tuple[Vector, Vector]:
        """Low and high ends [n] in milliseconds; about `coverage` of fresh random students fall between.

        Students chosen for a low prediction err upwards more often than that.
        """
        margin = self._model(workload).regressor.margin(coverage)
        predicted = self.predict(students, workload)
        return predicted / margin, predicted * margin

    def predict_breakdown(self, spec: StudentSpec, workload: Workload) -> list[tuple[str, float]]:
        """Where the predicted milliseconds go, in the order of the blocks, then the call; they add up to `predict`.

        Shares are the law's; what the trees correct is spread over them in proportion.
        """
        blocks = spec.blocks()
        terms, names = additive_terms(SpecTable.from_blocks([[block] for block in blocks]), workload)
        law = self._model(workload).regressor.law_
        call = names.index("calls")
        shares = np.append(np.delete(terms, call, axis=1) @ np.delete(law.coefficients, call), law.coefficients[call])
        milliseconds = shares / shares.sum() * self.predict([spec], workload)[0]
        return list(zip([*_labels(spec), "call"], map(float, milliseconds), strict=True))

    def covers(self, students: Students, workload: Workload) -> npt.NDArray[np.bool_]:
        """Whether each student [n] and the workload lie within what was measured, give or take a tenth."""
        table = as_table(students)
        model = self.models.get(circumstances(workload))
        return np.zeros(len(table), dtype=bool) if model is None else model.ranges.hold(table, workload)

    def save(self, path: Path) -> None:
        """Write everything as JSON with a schema number and a checksum; a reader sees the old file or the new one."""
        models = [
            {
                "threads": threads,
                "precision": precision,
                "part_scale": model.part_scale,
                "ranges": {name: list(bounds) for name, bounds in model.ranges.bounds.items()},
                "regressor": model.regressor.to_json(),
            }
            for (threads, precision), model in self.models.items()
        ]
        write_signed(path, KIND, SCHEMA, {"terms": TERM_COUNT, "models": models})

    @classmethod
    def load(cls, path: Path) -> "LatencyPredictor":
        """Read `save`'s file; a `UserError` for one that is missing, cut short, edited or of another version."""
        content = read_signed(path, KIND, SCHEMA)
        return cls(dict(_model_from_json(model) for model in content["models"]))


def _model_from_json(value: dict[str, Any]) -> tuple[Circumstances, CircumstanceModel]:
    precision: Precision = value["precision"]
    ranges = Ranges({name: (low, high) for name, (low, high) in value["ranges"].items()})
    model = CircumstanceModel(LatencyRegressor.from_json(value["regressor"]), ranges, value["part_scale"])
    return (value["threads"], precision), model


def _in_chunks(table: SpecTable, score: Callable[[SpecTable], Vector]) -> Vector:
    parts = [score(take(table, slice(start, start + CHUNK))) for start in range(0, len(table), CHUNK)]
    return np.concatenate(parts) if parts else np.zeros(0)


def _labels(spec: StudentSpec) -> list[str]:
    """A name for each block: embedding, layer 1 …, head."""
    layers = iter(range(1, len(spec.layers) + 1))
    own = {EmbeddingBlock: "embedding", LayerBlock: "layer"}
    names = (own.get(type(block), "head") for block in spec.blocks())
    return [f"layer {next(layers)}" if name == "layer" else name for name in names]
