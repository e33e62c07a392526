"""The compiled predictor says what `LatencyPredictor` says, of any blocks, in any number of threads."""

from collections.abc import Callable

import numpy as np
import pytest

from devices.workload import Workload
from predictor.compiled import CHUNK, CompiledPredictor, in_chunks
from predictor.latency import LatencyPredictor
from runs.errors import UserError
from students.space import SPACES, space
from students.spec import BottleneckLayer, ConvolutionLayer, FeedForwardLayer, Head, StudentSpec, TransformerLayer
from students.table import BlockTable

AROUND = {"vocabulary_size": 30522, "maximum_positions": 512, "token_types": 2}


@pytest.mark.parametrize(
    ("name", "head", "length"),
    [
        *((name, Head(), 37) for name in SPACES.names()),
        ("hybrid", Head("none"), 512),
        ("hybrid", Head("masked-lm"), 128),
    ],
)
def test_codes_of_a_space_are_scored_as_their_specs_are(
    cpu_predictor: LatencyPredictor, name: str, head: Head, length: int
) -> None:
    members, workload = space(name), Workload(sequence_length=length)
    codes = members.sample(600, np.random.default_rng(5))
    specs, table = members.decode(codes, **AROUND, head=head), members.table(codes, **AROUND, head=head)
    compiled = CompiledPredictor.of(cpu_predictor, table.blocks, workload)
    found = compiled.predict(table.index)
    assert found == pytest.approx(cpu_predictor.predict(specs, workload), rel=1e-6)
    high = cpu_predictor.predict_interval(specs, workload)[1]
    assert found * compiled.margin() == pytest.approx(high, rel=1e-6)


def test_every_layer_type_is_compiled(cpu_predictor: LatencyPredictor) -> None:
    layers = (TransformerLayer(3, 96, 256), ConvolutionLayer(3, 200), BottleneckLayer(64, 2, 64, 128, 2, "relu"))
    specs = [StudentSpec(64, 128, (*layers, FeedForwardLayer(80, 2))), StudentSpec(128, 128, layers[1:])]
    table = BlockTable.from_specs(specs)
    compiled = CompiledPredictor.of(cpu_predictor, table.blocks, Workload())
    assert compiled.predict(table.index) == pytest.approx(cpu_predictor.predict(specs, Workload()), rel=1e-6)


def test_the_number_of_threads_changes_nothing(
    cpu_predictor: LatencyPredictor, fresh_students: Callable[[int, int], list[StudentSpec]]
) -> None:
    few = BlockTable.from_specs(fresh_students(50, 8))
    table = few.take(np.random.default_rng(0).integers(len(few), size=3 * CHUNK + 17))
    compiled = CompiledPredictor.of(cpu_predictor, table.blocks, Workload())
    alone, together = (
        in_chunks(lambda rows: compiled.score(table.index[rows]), len(table), threads) for threads in (1, 4)
    )
    assert np.array_equal(alone, together) and np.array_equal(alone, compiled.predict(table.index))
    assert len(compiled.predict(table.index[:0])) == 0


def test_what_goes_wrong_in_a_thread_is_raised() -> None:
    def fail(rows: slice) -> np.ndarray:
        raise UserError("no")

    with pytest.raises(UserError, match="no"):
        in_chunks(fail, 10)


def test_circumstances_that_were_not_measured_are_refused(cpu_predictor: LatencyPredictor) -> None:
    with pytest.raises(UserError, match="7 threads"):
        CompiledPredictor.of(cpu_predictor, (), Workload(threads=7))
