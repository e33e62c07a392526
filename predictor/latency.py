"""The predictor of one device profile: milliseconds of any student on any measured circumstances."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from devices.workload import Precision, Workload
from predictor.circumstances import (
    FEWEST_ADAPTED,
    FEWEST_WHOLE,
    CircumstanceModel,
    adapted,
    fitted,
    fitted_or_adapted,
)
from predictor.features import FEATURES, feature_table, whole_terms
from predictor.observation import (
    Circumstances,
    Observation,
    Rows,
    Students,
    as_table,
    by_circumstances,
    circumstances,
)
from predictor.physics import Matrix, Vector
from predictor.ranges import Ranges
from predictor.regressor import LatencyRegressor
from predictor.signed import read_signed, write_signed
from predictor.terms import BLOCK_TERMS, PLACES, block_terms
from runs.errors import UserError
from students.spec import EmbeddingBlock, LayerBlock, StudentSpec
from students.table import BlockTable

KIND, SCHEMA = "latency predictor", 2

CHUNK = 100_000
"""Students scored at once, which bounds memory to a few hundred MB."""


def _check_rows(rows: Rows, pair: Circumstances, fewest: int) -> None:
    if rows.whole_students < fewest:
        raise UserError(
            f"only {rows.whole_students} whole students were measured with {_words(pair)}: a predictor needs at least "
            f"{fewest}."
        )
    if not (np.isfinite(rows.latency_ms) & (rows.latency_ms > 0)).all():
        raise UserError(f"a latency measured with {_words(pair)} is not a positive number: measure again.")


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
        """Learn from stacks of blocks and whole students; equal observations and seed give equal predictions.

        Threads and precisions with few measurements lean on the one with most, where that serves students left out.
        """
        groups = by_circumstances(observations)
        if not groups:
            raise UserError("a latency predictor needs measurements, and there are none.")
        main = max(groups, key=lambda pair: groups[pair].whole_students)
        for pair, rows in groups.items():
            _check_rows(rows, pair, FEWEST_WHOLE if pair == main else FEWEST_ADAPTED)
        base = fitted(groups[main], seed)
        return cls(
            {pair: base if pair == main else fitted_or_adapted(base, rows, seed) for pair, rows in groups.items()}
        )

    def adapt(self, observations: Sequence[Observation]) -> "LatencyPredictor":
        """This predictor moved to where these few whole students (5 to 50) were measured.

        The place may differ in device, runtime, threads, precision or workload; the new predictor knows the threads and
        precisions of the observations alone, each from what is most like it here. Raises `UserError` for too few.
        """
        groups = by_circumstances(observations)
        if not groups:
            raise UserError("a predictor is adapted by measurements, and there are none.")
        for pair, rows in groups.items():
            _check_rows(rows, pair, FEWEST_ADAPTED)
        return LatencyPredictor({pair: adapted(self._nearest(pair), rows) for pair, rows in groups.items()})

    def _nearest(self, pair: Circumstances) -> CircumstanceModel:
        """The model of the nearest number of threads, of those in this precision where there are any."""
        threads, precision = pair
        return self.models[min(self.models, key=lambda known: (known[1] != precision, abs(known[0] - threads)))]

    def model(self, workload: Workload) -> CircumstanceModel:
        """What was learnt for the workload's threads and precision; a `UserError` where they were not measured."""
        pair = circumstances(workload)
        if pair not in self.models:
            measured = ", ".join(map(_words, self.models))
            raise UserError(f"nothing was measured with {_words(pair)}, only with {measured}: profile the device so.")
        return self.models[pair]

    def predict(self, students: Students, workload: Workload) -> Vector:
        """Milliseconds [n]; a `UserError` for threads or a precision that were not measured."""
        regressor = self.model(workload).regressor
        return _in_chunks(as_table(students), lambda table: regressor.predict(feature_table(table, workload)))

    def predict_interval(self, students: Students, workload: Workload, coverage: float = 0.9) -> tuple[Vector, Vector]:
        """Low and high ends [n] in milliseconds; about `coverage` of fresh random students fall between.

        Students chosen for a low prediction err upwards more often than that.
        """
        regressor = self.model(workload).regressor

        def ends(table: BlockTable) -> Matrix:
            return np.column_stack(regressor.predict_interval(feature_table(table, workload), coverage))

        low, high = _in_chunks(as_table(students), ends).reshape(-1, 2).T
        return low, high

    def predict_breakdown(self, spec: StudentSpec, workload: Workload) -> list[tuple[str, float]]:
        """Where the predicted milliseconds go, in the order of the blocks, then the call; they add up to `predict`.

        Shares are the law's, those of weights beyond a cache by weights; the trees' correction is spread in proportion.
        """
        law = self.model(workload).regressor.law_.coefficients
        terms, _ = block_terms(spec.blocks(), workload)
        own, whole = np.split(law, [len(BLOCK_TERMS)])
        *beyond_cache, call = whole_terms(terms.sum(axis=0, keepdims=True), workload)[0] * whole
        weights = terms[:, PLACES["product_weights"]]
        shares = np.append(terms @ own + sum(beyond_cache) * weights / weights.sum(), call)
        milliseconds = shares / shares.sum() * self.predict([spec], workload)[0]
        return list(zip([*_labels(spec), "call"], map(float, milliseconds), strict=True))

    def covers(self, students: Students, workload: Workload) -> npt.NDArray[np.bool_]:
        """Whether each student [n] and the workload lie within what was measured, give or take a tenth.

        Every block's numbers must lie within those measured of its kind, and the totals within those of whole students.
        """
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
        write_signed(path, KIND, SCHEMA, {"features": list(FEATURES), "models": models})

    @classmethod
    def load(cls, path: Path) -> "LatencyPredictor":
        """Read `save`'s file; a `UserError` for one that is missing, cut short, edited or of another version."""
        content = read_signed(path, KIND, SCHEMA)
        if content["features"] != list(FEATURES):
            raise UserError(f"the {KIND} {path} was fitted to other features than this version's: profile again.")
        return cls(dict(_model_from_json(model) for model in content["models"]))


def _model_from_json(value: dict[str, Any]) -> tuple[Circumstances, CircumstanceModel]:
    precision: Precision = value["precision"]
    ranges = Ranges({name: (low, high) for name, (low, high) in value["ranges"].items()})
    model = CircumstanceModel(LatencyRegressor.from_json(value["regressor"]), ranges, value["part_scale"])
    return (value["threads"], precision), model


def _in_chunks(table: BlockTable, score: Callable[[BlockTable], npt.NDArray[np.float64]]) -> npt.NDArray[np.float64]:
    parts = [score(table.take(slice(start, start + CHUNK))) for start in range(0, len(table), CHUNK)]
    return np.concatenate(parts) if parts else np.zeros(0)


def _labels(spec: StudentSpec) -> list[str]:
    """A name for each block: embedding, layer 1 …, head."""
    layers = iter(range(1, len(spec.layers) + 1))
    own = {EmbeddingBlock: "embedding", LayerBlock: "layer"}
    names = (own.get(type(block), "head") for block in spec.blocks())
    return [f"layer {next(layers)}" if name == "layer" else name for name in names]
