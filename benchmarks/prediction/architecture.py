"""What HAT and AutoTinyBERT tell their predictors of a student: the numbers of its architecture, and no physics."""

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np

from predictor.observation import Rows
from predictor.physics import Matrix
from students.spec import LAYER_TYPES, Block, EmbeddingBlock, LayerBlock

SIZES = ("heads", "qkv_width", "ffn_width", "ffn_count", "count", "bottleneck_width", "kernel")
"""Numbers of layers of any type; the mean over the layers that have them says as much as a list, and fits any depth."""

HEAD_SIZES = ("labels", "vocabulary_size")
"""Numbers of heads of any kind."""


def _of_blocks(blocks: Sequence[Block]) -> list[float]:
    layers = [block for block in blocks if isinstance(block, LayerBlock)]
    numbers = [asdict(block.layer) for block in layers]
    found = [float(max((block.hidden_width for block in layers), default=0))]
    found.append(float(sum(block.embedding_width for block in blocks if isinstance(block, EmbeddingBlock))))
    heads = [block for block in blocks if not isinstance(block, LayerBlock | EmbeddingBlock)]
    found += [float(sum(getattr(head, name, 0) for head in heads)) for name in HEAD_SIZES]
    found += [float(sum(block.layer.type == kind for block in layers)) for kind in LAYER_TYPES]
    for name in SIZES:
        sizes = [one[name] for one in numbers if name in one]
        found += [float(np.mean(sizes)), float(np.std(sizes))] if sizes else [0.0, 0.0]
    return found


def architecture(rows: Rows) -> Matrix:
    """[n, f]: widths, head, layers by type, mean and spread of each size over the layers, length and batch size."""
    described = [
        [*_of_blocks(rows.table.row(n)), workload.sequence_length, workload.batch_size]
        for n, workload in enumerate(rows.workloads)
    ]
    return np.array(described, dtype=np.float64)
