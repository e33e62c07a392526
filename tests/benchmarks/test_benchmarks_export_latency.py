"""The contest of exports: the floor is all products, ratios survive drift, and one small shape runs from end to end."""

import importlib
import json
import math
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from devices.measurement import Sample
from devices.workload import Workload
from runs.errors import UserError
from students.bert import bert_config
from students.space import space
from students.spec import ConvolutionLayer, Head, LayerBlock, StudentSpec, TransformerLayer, uniform_spec

SPEC = uniform_spec(2, 32, 4, 48, vocabulary_size=60, maximum_positions=20)


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Imports modules as the script does, with `benchmarks` first on the path."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    return importlib.import_module


@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("attention", [True, False])
def test_the_floor_has_every_product_and_runs(load: Any, precision: str, attention: bool) -> None:
    floor: ModuleType = load("contest.floor")
    data = floor.floor_graph(SPEC, 16, precision, attention=attention)
    kinds = [node.op_type for node in onnx.load_from_string(data).graph.node]
    per_layer = 6 + 2 * attention
    assert kinds.count("MatMul") + kinds.count("MatMulInteger") == per_layer * len(SPEC.layers)
    assert (kinds.count("MatMulInteger") > 0) == (precision == "int8")
    if precision == "fp32":
        assert set(kinds) <= {"MatMul", "Reshape", "Identity", "Slice"}
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    inputs = floor.floor_inputs(SPEC, 16)
    [answer] = session.run(None, {given.name: inputs[given.name] for given in session.get_inputs()})
    # Neither growing nor vanishing numbers: denormal ones would be timed wrongly.
    assert 0.01 < answer.std() < 100


@pytest.mark.parametrize("head", [Head("none"), Head("classification", 2)])
def test_the_floor_has_the_flops_of_the_layers(load: Any, head: Head) -> None:
    spec = replace(SPEC, head=head)
    model = onnx.shape_inference.infer_shapes(
        onnx.load_from_string(load("contest.floor").floor_graph(spec, 16, "fp32"))
    )
    values = [*model.graph.value_info, *model.graph.input, *model.graph.output]
    shapes = {value.name: [axis.dim_value for axis in value.type.tensor_type.shape.dim] for value in values}
    shapes |= {tensor.name: list(tensor.dims) for tensor in model.graph.initializer}
    products = [node for node in model.graph.node if node.op_type == "MatMul"]
    flops = sum(2 * math.prod(shapes[node.input[0]]) * shapes[node.input[1]][-1] for node in products)
    assert flops == sum(block.flops(1, 16) for block in spec.blocks() if isinstance(block, LayerBlock))


def test_the_floor_refuses_what_is_not_berts(load: Any) -> None:
    floor = load("contest.floor")
    narrow = uniform_spec(1, 32, 4, 48, qkv_width=16)
    mixed = StudentSpec(32, 32, (TransformerLayer(4, 32, 48), ConvolutionLayer(3, 48)))
    for spec, layer in ((narrow, 0), (mixed, 1)):
        with pytest.raises(UserError, match=f"layer {layer} is not BERT's"):
            floor.floor_graph(spec, 16, "fp32")


def _samples(first_ms: float, second_ms: float, processes: int = 4, rounds: int = 12) -> list[Sample]:
    """Two files on a machine whose speed doubles and halves, the same for both within a round."""
    rng = np.random.default_rng(0)
    found = []
    for process in range(processes):
        for number in range(rounds):
            speed = 1.0 + rng.random()
            for key, milliseconds in (("first", first_ms), ("second", second_ms)):
                noisy = milliseconds * speed * (1 + 0.01 * rng.standard_normal())
                found.append(Sample(key, Workload(), process, number, noisy, 0.0))
    return found


def test_ratios_are_paired_so_that_drift_does_not_matter(load: Any) -> None:
    ratios = load("contest.ratios")
    found = ratios.paired_ratio(_samples(9.0, 10.0), "first", "second")
    assert found.ratio == pytest.approx(0.9, abs=0.01)
    assert found.low < 0.9 < found.high and found.high - found.low < 0.03
    assert len(found.processes) == 4
    assert ratios.paired_ratio(_samples(9.0, 10.0), "first", "first").ratio == 1.0
    with pytest.raises(ValueError, match="never ran in one round"):
        ratios.paired_ratio(_samples(9.0, 10.0), "first", "third")


def test_the_median_over_shapes_takes_each_shape_once(load: Any) -> None:
    ratios = load("contest.ratios")
    shapes = [ratios.paired_ratio(_samples(first, 10.0), "first", "second") for first in (8.0, 9.0, 12.0)]
    found = ratios.median_ratio(shapes)
    assert found.ratio == shapes[1].ratio and found.low <= found.ratio <= found.high
    assert found.processes == tuple(shape.ratio for shape in shapes)


def test_shares_add_up_and_warm_up_is_left_out(load: Any) -> None:
    shares = load("contest.shares")

    def kernel(name: str, start: int, duration: int) -> dict[str, Any]:
        event = {"cat": "Node", "name": f"{name}_kernel_time", "ts": start, "dur": duration}
        return {**event, "args": {"op_name": name}}

    runs = [{"cat": "Session", "name": "model_run", "ts": 100 * run, "dur": 90} for run in range(8)]
    events = [kernel("Softmax", 10, 80), kernel("MatMul", 710, 60), kernel("Attention", 770, 15), kernel("Add", 785, 5)]
    events.append({"cat": "Node", "name": "MatMul_fence_before", "ts": 705, "dur": 99, "args": {"op_name": "MatMul"}})
    kept = [event for event in shares.after_warmup([*events, *runs]) if event["cat"] == "Node"]
    found = shares.shares_of(kept)
    assert found["products"] == 0.75 and found["attention"] == 15 / 80 and found["other"] == 5 / 80
    assert "kernel:Softmax" not in found and found["kernel:Add"] == 5 / 80


def test_the_shapes_are_ten_that_bert_can_express(load: Any) -> None:
    script = load("export_latency")
    shapes = script.contest_shapes()
    assert len(shapes) == 10 and len(set(shapes.values())) == 10
    assert {"minilm-l6-h384", "tinybert-4"} <= set(shapes)
    assert all(bert_config(spec) is not None for spec in shapes.values())
    # Raises for a spec outside the space.
    assert len(space("hybrid").encode([shapes[name] for name in script.SIZES])) == 5
    with pytest.raises(UserError, match=r"unknown shape 'bert-huge': use some of minilm-l6-h384"):
        script.chosen_shapes(["bert-huge"], Head())


def test_one_shape_from_end_to_end_and_again(
    load: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = load("export_latency")
    monkeypatch.setattr(script, "SIZES", {"small": (2, 32, 2, 48)})
    monkeypatch.setattr(script, "NAMED", ())
    script.main(processes=1, rounds=2, output=tmp_path)
    summary = json.loads(capsys.readouterr().out)
    assert summary == json.loads((tmp_path / "summary.json").read_text())
    written = tmp_path / "small.json"
    result = json.loads(written.read_text())
    rows = result["contenders"]
    for name in ("ours-portable", "ours-fused", "ours-fused-fixed"):
        assert rows[name]["relative_error"] < 1e-5
        assert rows[f"{name}-int8"]["relative_error"] < 0.1
        assert result["ratios"][f"{name}-int8 / fp32"]["against"] == name
    assert result["ratios"]["ours-fused / floor"]["ratio"] > 0.5
    assert result["refused"]["optimum-O2"] == "optimum was not run: give --optimum-python."
    assert list((tmp_path / "files").iterdir()) == []
    before = written.stat().st_mtime_ns
    script.main(processes=1, rounds=2, output=tmp_path)
    assert written.stat().st_mtime_ns == before
    assert json.loads(capsys.readouterr().out) == summary
    with pytest.raises(UserError, match="cannot be run"):
        script.main(processes=1, rounds=3, output=tmp_path, optimum_python=tmp_path / "none")
