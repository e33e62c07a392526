"""Causal graphs write what PyTorch writes, token by token, whatever the prompt, the padding and the dialect."""

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

from devices.workload import Workload
from export.form import Form
from export.generation import empty_cache, generate_greedily, keeps_cache, run_through_cache, step
from export.graph import PORTABLE, student_graph
from export.graph_file import graph_inputs, read_graph_file
from export.part import DIALECTS
from export.verify import open_graph
from export.weights import module_weights
from runs.errors import UserError
from students.model import build_student
from students.spec import BottleneckLayer, FeedForwardLayer, Head, StudentSpec, TransformerLayer

STEPS = 16
SPECS = {
    "alike": StudentSpec(24, 24, (TransformerLayer(3, 24, 40),) * 2, 70, 64, head=Head("causal-lm")),
    "mixed": StudentSpec(
        16,
        24,
        (FeedForwardLayer(30), TransformerLayer(2, 20, 40, "relu"), BottleneckLayer(12, 2, 16, 20, 2)),
        70,
        64,
        head=Head("causal-lm"),
    ),
    "shared": StudentSpec(
        24, 24, (TransformerLayer(3, 24, 40),) * 3, 70, 64, head=Head("causal-lm"), sharing=(0, 0, 2)
    ),
}


@cache
def lively(name: str) -> Any:
    """Weights so large that what is written is no repetition of one word."""
    model = build_student(SPECS[name])
    generator = torch.Generator().manual_seed(8)
    for weight in model.parameters():
        weight.data += (0.1 if weight.dim() == 1 else 0.6) * torch.randn(weight.shape, generator=generator)
    return model


def prompts(*lengths: int, left: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Random prompts of these lengths, padded to the longest with an ordinary word."""
    rng = np.random.default_rng(len(lengths))
    ids, mask = np.full((2, len(lengths), max(lengths)), 5)
    mask[:] = 0
    for row, length in enumerate(lengths):
        place = slice(max(lengths) - length, None) if left else slice(0, length)
        ids[row, place] = rng.integers(0, 70, length)
        mask[row, place] = 1
    return ids, mask


@cache
def written_by_torch(name: str, lengths: tuple[int, ...]) -> np.ndarray:
    """One prompt at a time, without padding and without a cache."""
    model, rows = lively(name), []
    ids, mask = prompts(*lengths)
    for row, kept in zip(ids, mask, strict=True):
        text = torch.from_numpy(row[kept == 1])[None]
        for _ in range(STEPS):
            with torch.inference_mode():
                following = model(text).logits[:, -1].argmax(dim=-1)
            text = torch.cat([text, following[:, None]], dim=1)
        rows.append(text[0, -STEPS:].numpy())
    return np.stack(rows)


def graph_of(name: str, form: Form = PORTABLE) -> bytes:
    return student_graph(SPECS[name], module_weights(lively(name)), form).SerializeToString()


@pytest.fixture(scope="module", params=SPECS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module", params=DIALECTS.names())
def session(name: str, request: pytest.FixtureRequest) -> Any:
    return open_graph(graph_of(name, Form(request.param)), 1)


@pytest.mark.parametrize("lengths", [(1,), (7,), (3, 9, 6, 1)])
@pytest.mark.parametrize("left", [True, False])
def test_greedy_generation_is_pytorchs(name: str, session: Any, lengths: tuple[int, ...], left: bool) -> None:
    ids, mask = prompts(*lengths, left=left)
    found = generate_greedily(session, ids, mask, STEPS)
    np.testing.assert_array_equal(found, written_by_torch(name, lengths))
    assert len(np.unique(found)) > len(lengths)


def test_the_cache_grows_by_what_is_fed(session: Any) -> None:
    ids, mask = prompts(4, 6)
    cache = empty_cache(session, 2)
    assert keeps_cache(session) and {value.shape[2] for value in cache.values()} == {0}
    _, cache = step(session, ids[:, :5], mask[:, :5], cache)
    assert {value.shape[2] for value in cache.values()} == {5}
    logits, cache = step(session, ids[:, 5:], mask, cache)
    assert logits.shape == (2, 1, 70)
    assert {value.shape[2] for value in cache.values()} == {6}


def test_inputs_and_outputs_are_named_as_documented() -> None:
    session = open_graph(graph_of("mixed"), 1)
    given = {value.name: value.shape for value in session.get_inputs()}
    assert given == {
        "input_ids": ["batch", "sequence"],
        "attention_mask": ["batch", "total"],
        "past.0.key": ["batch", 2, "past", 10],
        "past.0.value": ["batch", 2, "past", 10],
        "past.1.key": ["batch", 2, "past", 8],
        "past.1.value": ["batch", 2, "past", 8],
    }
    made = {value.name: value.shape for value in session.get_outputs()}
    assert made["present.1.key"] == ["batch", 2, "total", 8]
    assert list(made)[0] == "logits" and len(made) == 5


def test_generation_stops_where_every_text_has_ended(session: Any) -> None:
    ids, mask = prompts(3, 9)
    free = generate_greedily(session, ids, mask, STEPS)
    stop = int(free[0, 4])
    first = [int(np.argmax(row == stop)) if stop in row else STEPS - 1 for row in free]
    stopped = generate_greedily(session, ids, mask, STEPS, stop_id=stop)
    assert stopped.shape[1] == max(first) + 1
    for row, own, end in zip(stopped, free, first, strict=True):
        np.testing.assert_array_equal(row[: end + 1], own[: end + 1])
        assert (row[end + 1 :] == stop).all()


@pytest.mark.parametrize("dialect", DIALECTS.names())
def test_a_graph_for_one_token_a_call(dialect: str) -> None:
    session = open_graph(graph_of("alike", Form(dialect, batch_size=2, sequence_length=1)), 1)
    ids, mask = prompts(6, 4)
    with torch.inference_mode():
        expected = lively("alike")(torch.from_numpy(ids), attention_mask=torch.from_numpy(mask)).logits.numpy()
    found = run_through_cache(session, ids, mask)
    np.testing.assert_allclose(found[mask == 1], expected[mask == 1], atol=1e-4)


def test_what_cannot_be_fed() -> None:
    session = open_graph(graph_of("alike", Form(sequence_length=4)), 1)
    ids, mask = prompts(6)
    with pytest.raises(UserError, match="4 tokens a call"):
        run_through_cache(session, ids, mask)
    with pytest.raises(UserError, match="holds no token"):
        generate_greedily(session, ids, np.zeros_like(mask), 3)


def test_a_causal_file_can_be_measured(tmp_path: Any) -> None:
    path = tmp_path / "student.onnx"
    path.write_bytes(graph_of("mixed"))
    inputs = graph_inputs(read_graph_file(path), Workload(3, 11))
    assert inputs["past.1.key"].shape == (3, 2, 0, 8)
    assert open_graph(path).run(None, inputs)[0].shape == (3, 11, 70)
