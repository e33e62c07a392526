"""The contract of every target, run over all that are registered."""

import gc
import weakref
from typing import get_args

import numpy as np
import onnx
import pytest
import torch

import devices.targets  # noqa: F401  (fills the registry)
from devices.fingerprint import SCHEMA, Fingerprint, fingerprint
from devices.onnx_runtime import CUDA, load_library
from devices.replay import ReplayTarget
from devices.target import Artifact, DescriptionArtifact, OnnxArtifact, Target, TorchArtifact, open_target
from devices.workload import Precision, Workload
from runs.errors import UserError

WORKLOAD = Workload(1, 8, 1, "fp32")
WEIGHT = np.linspace(-1.0, 1.0, 12, dtype=np.float32).reshape(4, 3)
INPUT = np.arange(8, dtype=np.float32).reshape(2, 4)

RECORDED_BY = Fingerprint("P", "x86_64", 2, 8.0, "Linux", "3.11", "cpu", {"torch": "1"}, {}, 1, SCHEMA)


class Product(torch.nn.Module):
    """x · WEIGHT, answered as a dictionary, as `transformers` models do."""

    weight: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("weight", torch.from_numpy(WEIGHT.copy()))

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor | None]:
        return {"loss": None, "product": x @ self.weight}


def torch_product() -> TorchArtifact:
    return TorchArtifact("product", Product(), (torch.from_numpy(INPUT),))


def onnx_product() -> OnnxArtifact:
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("MatMul", ["x", "w"], ["y"])],
        "product",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["rows", 4])],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["rows", 3])],
        [onnx.numpy_helper.from_array(WEIGHT, "w")],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)
    return OnnxArtifact("product", model.SerializeToString(), {"x": INPUT})


def description() -> DescriptionArtifact:
    return DescriptionArtifact("product", {"rows": 4, "columns": 3})


PRODUCTS = {"torch": torch_product, "onnx": onnx_product, "onnx-fused": onnx_product, "description": description}


def weak(value: object) -> weakref.ref[object] | None:
    try:
        return weakref.ref(value)
    except TypeError:
        return None


class TestEveryTarget:
    def test_runs_what_it_was_given(self, target: Target) -> None:
        session = target.open(PRODUCTS[target.artifact](), WORKLOAD)
        outputs = session.run()
        session.close()
        if target.clocked:
            assert len(outputs) == 1
            np.testing.assert_allclose(outputs[0], INPUT @ WEIGHT, rtol=1e-5)

    def test_times_are_positive_numbers(self, target: Target) -> None:
        session = target.open(PRODUCTS[target.artifact](), WORKLOAD)
        times = [session.time_ms() for _ in range(5)]
        session.close()
        assert all(0.0 < time < 10_000.0 for time in times)

    def test_refuses_other_artifacts(self, target: Target) -> None:
        for make in PRODUCTS.values():
            if make is not PRODUCTS[target.artifact]:
                artifact: Artifact = make()
                with pytest.raises(UserError, match=f"{target.name}.*product"):
                    target.open(artifact, WORKLOAD)

    def test_refuses_what_it_lacks(self, target: Target) -> None:
        assert target.precisions_here()[0] == "fp32"
        for precision in get_args(Precision):
            workload = Workload(1, 8, 1, precision)
            if precision in target.precisions_here():
                target.check(workload)
            else:
                with pytest.raises(UserError, match=f"{precision}.*--precision fp32"):
                    target.open(PRODUCTS[target.artifact](), workload)
        with pytest.raises(UserError, match="--threads is 4096"):
            target.check(Workload(1, 8, 4096, "fp32"))

    def test_closing_lets_go_of_everything(self, target: Target) -> None:
        session = target.open(PRODUCTS[target.artifact](), WORKLOAD)
        session.run()
        held = [found for value in vars(session).values() if (found := weak(value)) is not None]
        session.close()
        gc.collect()
        assert [one() for one in held] == [None] * len(held)
        assert held or not target.clocked

    def test_two_sessions_of_one_artifact_do_not_disturb_each_other(self, target: Target) -> None:
        artifact = PRODUCTS[target.artifact]()
        first, second = (target.open(artifact, WORKLOAD) for _ in range(2))
        before = second.run()
        first.close()
        np.testing.assert_array_equal(second.run(), before)
        second.close()

    def test_fingerprint_is_whole_and_repeatable(self, target: Target) -> None:
        mark = fingerprint(target, 1)
        assert Fingerprint.from_json(mark.to_json()) == mark
        assert mark.differences(fingerprint(target, 1)) == []
        assert mark.processor and mark.runtime and mark.target == target.stands_for
        assert fingerprint(target, 2).differences(mark) == ["lowering (2, now 1)"]


def test_an_unknown_target_is_named_with_the_known_ones() -> None:
    with pytest.raises(UserError, match="unknown target 'onnxruntim': use one of onnxruntime"):
        open_target("onnxruntim")


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("cpu", "cpu or cpu:compile"),
        ("onnxruntime", "onnxruntime or onnxruntime:cuda"),
        ("cuda", "cuda or cuda:graphs"),
    ],
)
def test_an_unknown_variant_is_named_with_the_known_ones(name: str, known: str) -> None:
    with pytest.raises(UserError, match=f"target '{name}' has no variant '1': use --target {known}.$"):
        open_target(f"{name}:1")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
@pytest.mark.parametrize("name", ["cuda", "cuda:graphs"])
def test_cuda_without_a_gpu_is_one_clear_sentence(name: str) -> None:
    with pytest.raises(UserError, match=f"target '{name}' needs an NVIDIA GPU.*use --target cpu") as error:
        open_target(name)
    assert "\n" not in str(error.value)


def test_onnx_runtime_without_its_cuda_provider_is_one_clear_sentence() -> None:
    if CUDA in load_library().get_available_providers():
        pytest.skip("it has the provider")
    with pytest.raises(UserError, match="'onnxruntime:cuda' needs .* install onnxruntime-gpu") as error:
        open_target("onnxruntime:cuda")
    assert "\n" not in str(error.value)


def test_a_precision_that_this_processor_lacks_is_refused_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    target = open_target("cpu")
    assert target.precisions_here() == ("fp32", "int8")
    with pytest.raises(UserError, match=r"'cpu' cannot run bf16 here \(the processor has no bf16.*fp32 or int8"):
        target.check(Workload(precision="bf16"))


def test_compiling_without_a_compiler_is_one_clear_sentence() -> None:
    with (
        torch._inductor.config.patch({"cpp.cxx": (None, "no-such-compiler")}),
        pytest.raises(UserError, match="'cpu:compile' needs a C\\+\\+ compiler.*use --target cpu") as error,
    ):
        open_target("cpu:compile")
    assert "\n" not in str(error.value)


def test_the_thread_count_is_the_sessions_own() -> None:
    target = open_target("cpu")
    one, two = (target.open(torch_product(), Workload(1, 8, threads)) for threads in (1, 2))
    two.run()
    assert torch.get_num_threads() == 2
    one.time_ms()
    assert torch.get_num_threads() == 1


@pytest.mark.parametrize("broken", [b"not a graph", b""])
def test_a_broken_graph_is_a_user_error(broken: bytes) -> None:
    with pytest.raises(UserError, match="ONNX Runtime cannot load thing"):
        open_target("onnxruntime").open(OnnxArtifact("thing", broken, {}), WORKLOAD)


def test_a_missing_graph_file_and_a_strange_one_are_user_errors(tmp_path) -> None:
    target = open_target("onnxruntime")
    with pytest.raises(UserError, match="ONNX Runtime cannot load thing"):
        target.open(OnnxArtifact("thing", tmp_path / "none.onnx", {}), WORKLOAD)
    product = onnx_product()
    with pytest.raises(UserError, match="takes the inputs x, not input_ids"):
        target.open(OnnxArtifact("thing", product.model, {"input_ids": INPUT}), WORKLOAD)


def test_replay_serves_recorded_samples_in_order_and_around() -> None:
    target = ReplayTarget({("product", WORKLOAD): [1.0, 2.0]}, lambda seen, workload: ("x", 9.0), RECORDED_BY)
    session = target.open(description(), WORKLOAD)
    assert [session.time_ms() for _ in range(5)] == [1.0, 2.0, 1.0, 2.0, 1.0]
    assert target.open(description(), WORKLOAD).time_ms() == 1.0


def test_replay_estimates_repeat_and_differ_by_identity_and_workload() -> None:
    def served(identity: str, workload: Workload) -> list[float]:
        target = ReplayTarget({}, lambda seen, at: (identity, 2.0), RECORDED_BY)
        session = target.open(description(), workload)
        return [session.time_ms() for _ in range(200)]

    assert served("a", WORKLOAD) == served("a", WORKLOAD)
    assert served("a", WORKLOAD) != served("b", WORKLOAD)
    assert served("a", WORKLOAD) != served("a", Workload(1, 16))
    relative = np.array(served("a", WORKLOAD)) / 2.0
    assert abs(relative.mean() - 1.0) < 0.003
    assert 0.008 < relative.std() < 0.012


def test_a_fingerprint_names_what_differs_and_only_that() -> None:
    other = Fingerprint("Q", "x86_64", 64, 8.0, "Linux", "3.12", "cpu", {"torch": "2"}, {"numpy": "1"}, 1, SCHEMA)
    assert RECORDED_BY.differences(other) == ["processor (P, now Q)", "runtime (torch 1, now torch 2)"]


def test_what_is_no_fingerprint_is_a_user_error() -> None:
    for value in (None, [], {}, {**RECORDED_BY.to_json(), "extra": 1}):
        with pytest.raises(UserError, match="profile the device again"):
            Fingerprint.from_json(value)
