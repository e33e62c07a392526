"""Students that the predictor knows nothing of are said so, and are never guessed."""

import pytest

from devices.workload import Workload
from predictor.latency import LatencyPredictor
from runs.errors import UserError
from students.spec import ConvolutionLayer, Head, StudentSpec, TransformerLayer, uniform_spec
from students.table import SpecTable

WORKLOAD = Workload()
KNOWN = uniform_spec(4, 256, 4, 1024)
MIXED = StudentSpec(256, 256, (TransformerLayer(4, 256, 1024), ConvolutionLayer(3, 1024)))
TOKENS = uniform_spec(4, 256, 4, 1024, head=Head("tokens", 5))
UNKNOWN = {"layers of type convolution": MIXED, "a head over every token": TOKENS}


def test_unknown_students_are_not_covered(cpu_predictor: LatencyPredictor) -> None:
    covered = cpu_predictor.covers([KNOWN, *UNKNOWN.values()], WORKLOAD)
    assert covered.tolist() == [True, False, False]


@pytest.mark.parametrize("said", UNKNOWN)
def test_what_is_unknown_is_named(said: str, cpu_predictor: LatencyPredictor) -> None:
    spec = UNKNOWN[said]
    assert SpecTable.from_specs([KNOWN, spec]).unknown.tolist() == ["", said]
    for ask in (cpu_predictor.predict, cpu_predictor.predict_interval):
        with pytest.raises(UserError, match=said):
            ask([KNOWN, spec], WORKLOAD)
    with pytest.raises(UserError, match=said):
        cpu_predictor.predict_breakdown(spec, WORKLOAD)


def test_shared_layers_take_the_time_of_others(cpu_predictor: LatencyPredictor) -> None:
    shared = uniform_spec(4, 256, 4, 1024, sharing=(0, 0, 0, 3))
    assert cpu_predictor.covers([shared], WORKLOAD).all()
    assert cpu_predictor.predict([shared], WORKLOAD) == cpu_predictor.predict([KNOWN], WORKLOAD)
