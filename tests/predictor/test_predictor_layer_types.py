"""Students of every layer type and head are learnt and predicted; those nothing was measured of are not covered."""

from collections.abc import Callable

import numpy as np
import pytest

from devices.workload import Workload
from predictor.latency import LatencyPredictor
from predictor.observation import Observation
from runs.errors import UserError
from students.operators import layer_operators, operators
from students.spec import (
    LAYER_TYPES,
    BottleneckLayer,
    ConvolutionLayer,
    EmbeddingBlock,
    FeedForwardLayer,
    Head,
    Layer,
    StudentSpec,
    TransformerLayer,
    uniform_spec,
)

WORKLOAD = Workload()
KNOWN = uniform_spec(4, 256, 4, 1024)
LAYERS: tuple[Layer, ...] = (
    TransformerLayer(4, 256, 1024),
    FeedForwardLayer(512, 2),
    BottleneckLayer(96, 4, 128, 384, 2),
    ConvolutionLayer(3, 512),
)
UNLIKE = {
    **{layer.type: StudentSpec(256, 256, (LAYERS[0], layer)) for layer in LAYERS[1:]},
    "tokens": uniform_spec(4, 256, 4, 1024, head=Head("tokens", 5)),
}


def test_every_layer_type_has_operators() -> None:
    assert {layer.type for layer in LAYERS} == set(LAYER_TYPES)
    for layer in LAYERS:
        assert layer_operators(layer, 256, 1, 128, 128)


@pytest.mark.parametrize("head", ["none", "classification", "tokens", "spans", "masked-lm"])
def test_every_head_has_operators(head) -> None:
    spec = StudentSpec(128, 256, LAYERS, head=Head(head, {"none": 1, "masked-lm": 1}.get(head, 2)))
    for block in spec.blocks():
        assert operators(block, 2, 64)


@pytest.mark.parametrize("unlike", UNLIKE)
def test_what_was_not_measured_is_not_covered(unlike: str, cpu_predictor: LatencyPredictor) -> None:
    assert cpu_predictor.covers([KNOWN, UNLIKE[unlike]], WORKLOAD).tolist() == [True, False]


def test_shared_layers_take_the_time_of_others(cpu_predictor: LatencyPredictor) -> None:
    shared = uniform_spec(4, 256, 4, 1024, sharing=(0, 0, 0, 3))
    assert cpu_predictor.covers([shared], WORKLOAD).all()
    assert cpu_predictor.predict([shared], WORKLOAD) == cpu_predictor.predict([KNOWN], WORKLOAD)


def _mixed(rng: np.random.Generator) -> StudentSpec:
    """A student of random layers of every type."""
    width = int(rng.integers(6, 25)) * 16

    def layer() -> Layer:
        heads, ffn = int(rng.integers(1, 9)), int(rng.integers(3, 33)) * 32
        makers: tuple[Callable[[], Layer], ...] = (
            lambda: TransformerLayer(heads, 32 * heads, ffn),
            lambda: FeedForwardLayer(ffn, int(rng.integers(1, 4))),
            lambda: BottleneckLayer(int(rng.integers(3, 13)) * 16, heads, 32 * heads, ffn, int(rng.integers(1, 4))),
            lambda: ConvolutionLayer(int(rng.choice([3, 5, 7])), ffn),
        )
        return makers[int(rng.integers(4))]()

    return StudentSpec(width, width, tuple(layer() for _ in range(int(rng.integers(1, 7)))))


def _simple_machine(spec: StudentSpec) -> float:
    """Milliseconds where 80 GFLOP/s are computed, 20 GB/s moved and an operator takes 4 µs to start."""
    count = sum(len(operators(block, 1, 128)) for block in spec.blocks())
    return spec.flops(1, 128) / 80e6 + spec.bytes_moved(1, 128) / 20e6 + 0.004 * count


def test_mixed_students_are_predicted() -> None:
    rng = np.random.default_rng(1)
    seen, fresh = ([_mixed(rng) for _ in range(count)] for count in (120, 40))
    noise = np.exp(0.01 * rng.standard_normal(len(seen)))
    predictor = LatencyPredictor.fit(
        [
            Observation(spec.blocks(), True, WORKLOAD, _simple_machine(spec) * off)
            for spec, off in zip(seen, noise, strict=True)
        ]
    )
    off = np.abs(predictor.predict(fresh, WORKLOAD) / [_simple_machine(spec) for spec in fresh] - 1)
    assert off.mean() < 0.02 and off.max() < 0.1
    assert predictor.covers(fresh, WORKLOAD).mean() > 0.8


def test_precision_that_was_not_measured_is_named(cpu_predictor: LatencyPredictor) -> None:
    with pytest.raises(UserError, match="1 thread in int8.*1 thread in fp32"):
        cpu_predictor.predict([KNOWN], Workload(precision="int8"))


def test_the_vocabulary_does_not_matter_to_an_embedding() -> None:
    small, large = (EmbeddingBlock(128, 256, words, 512, 2) for words in (4096, 30522))
    assert operators(small, 1, 64) == operators(large, 1, 64)
