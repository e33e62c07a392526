"""Graphs kept by content: the same as when made anew, shared by workloads of one precision, bounded in size."""

from pathlib import Path

import numpy as np
import pytest

from devices.target import OnnxArtifact, TorchArtifact
from devices.workload import Workload
from export.items import Item, Stack
from export.lowering import lower
from export.lowering_cache import LoweringCache
from runs.errors import UserError
from students.spec import LayerBlock, TransformerLayer, uniform_spec

STUDENT = uniform_spec(1, 32, 2, 64, vocabulary_size=50, maximum_positions=16)
STACK = Stack(LayerBlock(32, TransformerLayer(2, 32, 64)), 2)


def graphs(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


@pytest.mark.parametrize("item", [STUDENT, STACK])
@pytest.mark.parametrize("kind", ["onnx", "onnx-fused"])
def test_a_kept_graph_is_the_one_that_would_be_made(item: Item, kind: str, tmp_path: Path) -> None:
    cache = LoweringCache(tmp_path)
    for workload in (Workload(1, 8), Workload(2, 5, 2), Workload(1, 8)):
        kept, fresh = (lowering(item, kind, workload, 3) for lowering in (cache.lower, lower))
        assert isinstance(kept, OnnxArtifact) and isinstance(fresh, OnnxArtifact)
        assert isinstance(kept.model, Path) and kept.model.read_bytes() == fresh.model
        assert kept.key == fresh.key and kept.inputs.keys() == fresh.inputs.keys()
        assert all(np.array_equal(kept.inputs[name], fresh.inputs[name]) for name in fresh.inputs)
    assert len(graphs(tmp_path)) == 1


def test_whatever_makes_another_graph_makes_another_file(tmp_path: Path) -> None:
    cache = LoweringCache(tmp_path)
    for item, kind, workload, seed in (
        (STUDENT, "onnx-fused", Workload(1, 8), 0),
        (STUDENT, "onnx-fused", Workload(1, 8, 1, "int8"), 0),
        (STUDENT, "onnx-fused", Workload(1, 8), 1),
        (STUDENT, "onnx", Workload(1, 8), 0),
        (STACK, "onnx", Workload(1, 8), 0),
    ):
        before = graphs(tmp_path)
        cache.lower(item, kind, workload, seed)
        assert len(graphs(tmp_path)) == len(before) + 1


def test_modules_are_made_anew_and_what_cannot_be_fed_is_refused(tmp_path: Path) -> None:
    cache = LoweringCache(tmp_path)
    assert isinstance(cache.lower(STUDENT, "torch", Workload(1, 8)), TorchArtifact)
    with pytest.raises(UserError, match="16 positions"):
        cache.lower(STUDENT, "onnx", Workload(1, 17))
    assert graphs(tmp_path) == []


def test_the_oldest_go_when_there_are_too_many(tmp_path: Path) -> None:
    specs = [uniform_spec(1, 32, 2, 64, vocabulary_size=50 + n, maximum_positions=16) for n in range(4)]
    first = LoweringCache(tmp_path).lower(specs[0], "onnx", Workload(1, 8))
    assert isinstance(first, OnnxArtifact) and isinstance(first.model, Path)
    cache = LoweringCache(tmp_path, limit_bytes=int(2.5 * first.model.stat().st_size))
    for spec in (specs[1], specs[0], specs[2]):
        cache.lower(spec, "onnx", Workload(1, 8))
    assert len(graphs(tmp_path)) == 2 and first.model.is_file(), "the second was not used for longest"
    tight = LoweringCache(tmp_path, limit_bytes=1)
    last = tight.lower(specs[3], "onnx", Workload(1, 8))
    assert isinstance(last, OnnxArtifact) and last.model == tmp_path / graphs(tmp_path)[0]
    assert len(graphs(tmp_path)) == 1


def test_a_folder_that_takes_no_more_is_done_without(tmp_path: Path) -> None:
    gone = LoweringCache(tmp_path / "gone")
    kept = gone.lower(STUDENT, "onnx", Workload(1, 8))
    assert isinstance(kept, OnnxArtifact) and isinstance(kept.model, bytes)
