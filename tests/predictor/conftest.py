"""Devices that exist only as formulas, and students to time on them."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from devices.workload import Workload
from predictor.latency import LatencyPredictor
from predictor.observation import Observation
from students.spec import Block, EmbeddingBlock, HeadBlock, LayerBlock, StudentSpec, TransformerLayer

DeviceLaw = Callable[[Block, Workload], float]


def _product(rows: int, inner: int, columns: int, tile: int) -> float:
    """FLOPs of a matrix product whose columns come in tiles."""
    return 2.0 * rows * inner * math.ceil(columns / tile) * tile


def _products(block: Block, workload: Workload) -> list[tuple[int, int, int]]:
    tokens, width = workload.batch_size * workload.sequence_length, block.hidden_width
    if isinstance(block, EmbeddingBlock):
        return [(tokens, block.embedding_width, width)] * block.factorised
    if isinstance(block, HeadBlock):
        return [(workload.batch_size, width, width), (workload.batch_size, width, block.labels)]
    qkv, ffn, made = block.layer.qkv_width, block.layer.ffn_width, answered(block, workload)
    return [(tokens, width, qkv)] * 2 + [(made, width, qkv), (made, qkv, width), (made, width, ffn), (made, ffn, width)]


def answered(block: LayerBlock, workload: Workload) -> int:
    """Tokens that a layer makes."""
    return workload.batch_size * (1 if block.first_only else workload.sequence_length)


def cached_processor(block: Block, workload: Workload) -> float:
    """Products that run slower when narrow, weights that fall out of the cache, activations of unequal cost."""
    compute = sum(
        _product(*shape, tile=16) / (90e6 * min(shape[1:]) / (min(shape[1:]) + 40.0))
        for shape in _products(block, workload)
    )
    moved = block.bytes_moved(workload.batch_size, workload.sequence_length, 4.0) / 30e6
    latency = compute / workload.threads**0.8 + moved * (1.0 if block.parameters() < 400_000 else 1.3)
    if isinstance(block, LayerBlock):
        cost = {"gelu": 4e-7, "relu": 1e-7, "silu": 3e-7}[block.layer.activation]
        latency += cost * answered(block, workload) * block.layer.ffn_width
        pairs = answered(block, workload) * workload.sequence_length
        latency += 4.0 * pairs * block.layer.qkv_width / 50e6 + 5e-7 * pairs * block.layer.heads
    return latency + 0.02


def launch_bound_accelerator(block: Block, workload: Workload) -> float:
    """Every product takes at least the time that it takes to start it."""
    starts = [max(0.012, _product(*shape, tile=64) / 4e9) for shape in _products(block, workload)]
    return sum(starts) + 0.03 * isinstance(block, LayerBlock) + 0.02


def slow_memory_board(block: Block, workload: Workload) -> float:
    """The larger of computing and moving: a roofline."""
    compute = sum(_product(*shape, tile=4) for shape in _products(block, workload)) / 8e6
    return max(compute, block.bytes_moved(workload.batch_size, workload.sequence_length, 4.0) / 1.2e6) + 0.1


LAWS = {law.__name__: law for law in (cached_processor, launch_bound_accelerator, slow_memory_board)}

BETWEEN_BLOCKS = 1.04
"""How much longer a whole student takes than its stacks."""


def random_layer(rng: np.random.Generator, activation: str) -> TransformerLayer:
    head_width = int(rng.choice([16, 32, 64]))
    heads = int(rng.integers(1, 384 // head_width + 1))
    return TransformerLayer(heads, heads * head_width, int(rng.integers(3, 49)) * 32, activation)  # type: ignore[arg-type]


def random_student(rng: np.random.Generator) -> StudentSpec:
    width, activation = int(rng.integers(6, 25)) * 16, str(rng.choice(["gelu", "relu", "silu"]))
    return StudentSpec(width, width, tuple(random_layer(rng, activation) for _ in range(rng.integers(1, 7))))


def time_on(
    law: DeviceLaw, blocks: Sequence[Block], workload: Workload, whole: bool, rng: np.random.Generator, noise: float
) -> Observation:
    total = sum(law(block, workload) for block in blocks) * (BETWEEN_BLOCKS if whole else 1.0)
    return Observation(tuple(blocks), whole, workload, total * math.exp(noise * rng.standard_normal()))


def timings(
    law: DeviceLaw, students: int, stacks: int, workloads: Sequence[Workload], seed: int, noise: float = 0.01
) -> list[Observation]:
    """Fresh random students and stacks of four, each on every workload."""
    rng = np.random.default_rng(seed)
    rows: list[tuple[tuple[Block, ...], bool]] = [(random_student(rng).blocks(), True) for _ in range(students)]
    for _ in range(stacks):
        layer = random_layer(rng, str(rng.choice(["gelu", "relu", "silu"])))
        rows.append(((LayerBlock(int(rng.integers(6, 25)) * 16, layer),) * 4, False))
    return [time_on(law, blocks, workload, whole, rng, noise) for blocks, whole in rows for workload in workloads]


@pytest.fixture(params=LAWS)
def law(request: pytest.FixtureRequest) -> DeviceLaw:
    return LAWS[request.param]


@pytest.fixture(scope="session")
def cpu_timings() -> list[Observation]:
    return timings(cached_processor, 80, 40, [Workload()], seed=1)


@pytest.fixture(scope="session")
def cpu_predictor(cpu_timings: list[Observation]) -> LatencyPredictor:
    return LatencyPredictor.fit(cpu_timings)


@pytest.fixture(scope="session")
def fresh_timings() -> Callable[..., list[Observation]]:
    return timings


@pytest.fixture(scope="session")
def fresh_students() -> Callable[[int, int], list[StudentSpec]]:
    def draw(count: int, seed: int) -> list[StudentSpec]:
        rng = np.random.default_rng(seed)
        return [random_student(rng) for _ in range(count)]

    return draw


@pytest.fixture(scope="session")
def processor() -> DeviceLaw:
    return cached_processor
