"""Every target in every precision that it has here: near the fp32 answers, in the shapes that the workload asks for."""

import numpy as np
import numpy.typing as npt
import pytest
import torch

from devices.pytorch import CompiledCpuTarget
from devices.target import Target, TorchArtifact, open_target
from devices.workload import Precision, Workload
from export.items import Item, Stack
from export.lowering import graph_form, lower
from runs.errors import UserError
from students.spec import (
    BottleneckLayer,
    ConvolutionLayer,
    FeedForwardLayer,
    Head,
    LayerBlock,
    StudentSpec,
    TransformerLayer,
)

TOLERANCES: dict[Precision, float] = {"fp32": 1e-5, "bf16": 0.03, "fp16": 0.01, "int8": 0.08}
"""Largest difference from the fp32 answers of PyTorch, as a share of the largest of these."""

LAYERS = (
    TransformerLayer(2, 32, 96),
    BottleneckLayer(32, 2, 32, 64, 2),
    ConvolutionLayer(5, 96),
    FeedForwardLayer(96),
)
STUDENT = StudentSpec(32, 48, LAYERS, vocabulary_size=97, maximum_positions=64, head=Head("tokens", 24))
ITEMS: dict[str, Item] = {"student": STUDENT, "stack": Stack(LayerBlock(48, LAYERS[0]), 1)}


def answers(target: Target, item: Item, workload: Workload) -> list[npt.NDArray[np.float32]]:
    session = target.open(lower(item, target.artifact, workload, seed=3), workload)
    try:
        assert 0.0 < session.time_ms() < 10_000.0
        return session.run()
    finally:
        session.close()


@pytest.mark.parametrize("name", ITEMS)
@pytest.mark.parametrize("precision", TOLERANCES)
def test_answers_are_near_those_of_fp32_and_of_the_workloads_shape(
    target: Target, precision: Precision, name: str
) -> None:
    if not target.clocked:
        pytest.skip(f"target {target.name!r} runs nothing")
    if precision not in target.precisions_here():
        pytest.skip(f"no {precision} on target {target.name!r} here: {target.lacks(precision) or 'it has none'}")
    if isinstance(target, CompiledCpuTarget) and name == "student":
        pytest.skip("layers of four types take half a minute to compile")
    workload = Workload(2, 9, 1, precision)
    found = answers(target, ITEMS[name], workload)
    wanted = answers(open_target("cpu"), ITEMS[name], Workload(2, 9))
    assert [one.shape for one in found] == [one.shape for one in wanted]
    assert found[0].dtype == np.float32 and found[0].shape[:2] == (2, 9)
    assert np.abs(found[0] - wanted[0]).max() <= TOLERANCES[precision] * np.abs(wanted[0]).max()
    if precision != "fp32":
        assert np.abs(found[0] - wanted[0]).max() > 0, "nothing was rounded"


def test_int8_is_measured_in_the_form_that_is_shipped_for_the_target() -> None:
    pytest.importorskip("openvino")
    workload = Workload(precision="int8")
    forms = {name: graph_form(open_target(name).artifact, workload) for name in ("onnxruntime", "openvino")}
    assert {name: form.file_name for name, form in forms.items()} == {
        "onnxruntime": "student.ort.int8.onnx",
        "openvino": "student.int8-static.onnx",
    }


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
@pytest.mark.parametrize("name", ["cuda", "cuda:graphs"])
def test_a_closed_session_leaves_nothing_on_the_gpu(name: str) -> None:
    workload = Workload(2, 9)
    # What libraries keep for themselves is there after the first time.
    answers(open_target(name), STUDENT, workload)
    before = torch.cuda.memory_allocated()
    answers(open_target(name), STUDENT, workload)
    assert torch.cuda.memory_allocated() == before


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_what_waits_for_the_gpu_is_not_captured_and_spoils_nothing() -> None:
    workload, target = Workload(2, 9), open_target("cuda:graphs")
    causal = StudentSpec(32, 48, LAYERS[:1], vocabulary_size=97, maximum_positions=64, head=Head("causal-lm", 97))
    with pytest.raises(UserError, match="cannot be captured as a CUDA graph .*use --target cuda"):
        answers(target, causal, workload)
    wanted = answers(open_target("cuda"), STUDENT, workload)
    np.testing.assert_allclose(answers(target, STUDENT, workload)[0], wanted[0], atol=1e-5)


def test_many_compiled_models_of_one_class_stay_compiled() -> None:
    target = open_target("cpu:compile")
    before = torch._dynamo.utils.counters["frames"]["ok"]
    artifacts = [TorchArtifact("linear", torch.nn.Linear(3, 2), (torch.ones(1, 3),)) for _ in range(12)]
    sessions = [target.open(artifact, Workload()) for artifact in artifacts]
    assert torch._dynamo.utils.counters["frames"]["ok"] == before + len(sessions)
    with torch._dynamo.config.patch(error_on_recompile=True):
        for session in sessions:
            session.run()
