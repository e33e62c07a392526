"""A known device's predictor moved to a new one by a few whole students."""

from dataclasses import replace

import numpy as np
import pytest

from devices.workload import Workload
from predictor.evaluation import errors
from predictor.latency import LatencyPredictor
from predictor.observation import Observation
from runs.errors import UserError
from students.operators import Product, operators
from students.spec import Block
from students.table import BlockTable

NEW = Workload(threads=2, precision="int8")


@pytest.fixture(scope="module")
def elsewhere(processor, fresh_timings):
    """Students on a device 1.7 times as slow, whose call costs half a millisecond more."""

    def timings(count: int, seed: int) -> list[Observation]:
        seen = fresh_timings(processor, count, 0, [Workload()], seed=seed)
        return [replace(one, workload=NEW, latency_ms=1.7 * one.latency_ms + 0.5) for one in seen]

    return timings


@pytest.mark.parametrize(("samples", "bar"), [(5, 9.0), (20, 4.0)])
def test_a_few_students_are_enough(cpu_predictor, elsewhere, samples, bar):
    adapted = cpu_predictor.adapt(elsewhere(samples, 11))
    check = elsewhere(100, 12)
    table = BlockTable.from_blocks([one.blocks for one in check])
    measured = np.array([one.latency_ms for one in check])
    assert errors(adapted.predict(table, NEW), measured).mape_percent < bar
    low, high = adapted.predict_interval(table, NEW)
    assert ((low <= measured) & (measured <= high)).mean() > 0.6


def test_only_what_was_measured_there_is_known(cpu_predictor, elsewhere, fresh_students):
    adapted = cpu_predictor.adapt(elsewhere(10, 13))
    with pytest.raises(UserError, match="only with 2 threads in int8"):
        adapted.predict(fresh_students(2, 1), Workload())
    assert adapted.covers(fresh_students(20, 2), NEW).mean() > 0.8
    assert not adapted.covers(fresh_students(20, 2), replace(NEW, sequence_length=256)).any()


def test_it_is_saved_like_any_other(cpu_predictor, elsewhere, fresh_students, tmp_path):
    adapted = cpu_predictor.adapt(elsewhere(10, 14))
    adapted.save(tmp_path / "predictor.json")
    specs = fresh_students(50, 3)
    assert (LatencyPredictor.load(tmp_path / "predictor.json").predict(specs, NEW) == adapted.predict(specs, NEW)).all()


def test_too_few_or_none_are_refused(cpu_predictor, elsewhere):
    with pytest.raises(UserError, match="there are none"):
        cpu_predictor.adapt([])
    with pytest.raises(UserError, match="only 2 whole students"):
        cpu_predictor.adapt(elsewhere(2, 15))


def test_circumstances_with_few_measurements_lean_on_those_with_many(cpu_timings, elsewhere):
    predictor = LatencyPredictor.fit([*cpu_timings, *elsewhere(8, 16)])
    check = elsewhere(100, 17)
    table = BlockTable.from_blocks([one.blocks for one in check])
    assert errors(predictor.predict(table, NEW), [one.latency_ms for one in check]).mape_percent < 5
    alone = LatencyPredictor.fit(cpu_timings)
    assert (predictor.predict(table, Workload()) == alone.predict(table, Workload())).all()
    with pytest.raises(UserError, match="only 2 whole students.*2 threads in int8"):
        LatencyPredictor.fit([*cpu_timings, *elsewhere(2, 18)])


def test_products_may_change_their_speed_alone(fresh_timings):
    """As from fp32 to int8: ten students tell a quarter of the products' time from the same time for all else."""

    def precise(block, workload):
        return _product_kflops(block) / 80e3 + _elsewhere(block)

    def quick(block, workload):
        return _product_kflops(block) / 320e3 + _elsewhere(block)

    base = LatencyPredictor.fit(fresh_timings(precise, 60, 20, [Workload()], seed=19))
    adapted = base.adapt([replace(one, workload=NEW) for one in fresh_timings(quick, 10, 0, [Workload()], seed=20)])
    check = fresh_timings(quick, 100, 0, [Workload()], seed=21, noise=0.0)
    table = BlockTable.from_blocks([one.blocks for one in check])
    assert errors(adapted.predict(table, NEW), [one.latency_ms for one in check]).mape_percent < 2.5


def _product_kflops(block: Block) -> float:
    found = [one for one in operators(block, 1, 128) if isinstance(one, Product)]
    return sum(2 * one.rows * one.inner * one.columns for one in found) / 1e3


def _elsewhere(block: Block) -> float:
    """Milliseconds that no precision of products changes: norms over 128 tokens, and starting a block."""
    return 0.001 * block.hidden_width + 0.02
