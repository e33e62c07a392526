"""What a file takes to run grows with its weights and with its texts, and every operator is counted."""

from pathlib import Path

import pytest

from devices.workload import Workload
from export.form import Form
from export.lowering import graph_bytes
from export.memory import memory_bytes, working_bytes
from runs.errors import UserError
from students.layer_types import BottleneckLayer, ConvolutionLayer, FeedForwardLayer, TransformerLayer
from students.spec import EmbeddingBlock, HeadBlock, LayerBlock, uniform_spec

MB = 1_000_000


def written(path: Path, vocabulary_size: int) -> Path:
    spec = uniform_spec(1, 128, 2, 256, vocabulary_size=vocabulary_size, maximum_positions=512)
    path.write_bytes(graph_bytes(spec, Form("onnxruntime")))
    return path


def test_memory_grows_with_weights_and_texts(tmp_path: Path) -> None:
    short, long = Workload(1, 8), Workload(16, 512)
    small, large = written(tmp_path / "small.onnx", 100), written(tmp_path / "large.onnx", 100_000)
    more = large.stat().st_size - small.stat().st_size
    idle = memory_bytes(small, short)
    assert 1 * MB < idle < 100 * MB
    assert idle + 0.9 * more < memory_bytes(large, short) < idle + 3 * more
    scores = 4 * 16 * 2 * 512 * 512
    assert memory_bytes(small, long) > idle + 0.9 * scores


def test_a_file_that_is_none_is_said(tmp_path: Path) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no graph")
    with pytest.raises(UserError, match="broken.onnx"):
        memory_bytes(broken, Workload())


@pytest.mark.parametrize(
    ("block", "numbers"),
    [
        # Two texts of 16 tokens: 32 rows.
        (LayerBlock(32, TransformerLayer(2, 32, 256)), 32 * 2 * 256),
        (LayerBlock(8, TransformerLayer(4, 8, 8)), 2 * 4 * (16 * 16 + 2 * 2 * (16 + 16))),
        (LayerBlock(32, FeedForwardLayer(96, 2)), 32 * 2 * 96),
        (LayerBlock(32, ConvolutionLayer(3, 8)), 32 * 2 * 32),
        (LayerBlock(64, BottleneckLayer(16, 2, 16, 24)), 32 * (64 + 64)),
        (HeadBlock(32, 6), 2 * 64),
        (EmbeddingBlock(32, 32, 100, 64, 2), 32 * 2 * 32),
    ],
)
def test_the_largest_operator_counts(block: LayerBlock | HeadBlock | EmbeddingBlock, numbers: int) -> None:
    assert working_bytes(block, Workload(2, 16)) == 4 * numbers
