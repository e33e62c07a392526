"""Many students at once as arrays, so that predictors and searches need no Python loop over specs."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from students.spec import EmbeddingBlock, HeadBlock, LayerBlock, StudentSpec

Column = npt.NDArray[np.float64]

ACTIVATIONS = ("gelu", "relu", "silu")


@dataclass(frozen=True)
class SpecTable:
    """n students (or parts of students) by column; layer columns are [n, depth] and 0 where there is no layer.

    `embedding_width` is 0 in a row without an embedding, `labels` 0 in a row without a head, so that stacks of blocks
    and whole students stand in one table.
    """

    hidden_width: Column
    embedding_width: Column
    embedding_rows: Column
    labels: Column
    heads: Column
    qkv_width: Column
    ffn_width: Column
    activation: Column
    """Index into `ACTIVATIONS`, [n, depth]."""

    def __len__(self) -> int:
        return len(self.hidden_width)

    @property
    def present(self) -> Column:
        """1 where a row has a layer at that depth, [n, depth]."""
        return (self.heads > 0).astype(np.float64)

    @classmethod
    def from_blocks(cls, rows: Sequence[Sequence[EmbeddingBlock | LayerBlock | HeadBlock]]) -> "SpecTable":
        """One row a sequence of blocks; all of a row's blocks share their hidden width."""
        depth = max([1, *(sum(isinstance(block, LayerBlock) for block in row) for row in rows)])
        single = {name: np.zeros(len(rows)) for name in ("hidden_width", "embedding_width", "embedding_rows", "labels")}
        layered = {name: np.zeros((len(rows), depth)) for name in ("heads", "qkv_width", "ffn_width", "activation")}
        for n, row in enumerate(rows):
            position = 0
            for block in row:
                single["hidden_width"][n] = block.hidden_width
                if isinstance(block, EmbeddingBlock):
                    single["embedding_width"][n] = block.embedding_width
                    single["embedding_rows"][n] = block.vocabulary_size + block.maximum_positions + block.token_types
                elif isinstance(block, HeadBlock):
                    single["labels"][n] = block.labels
                else:
                    for name in ("heads", "qkv_width", "ffn_width"):
                        layered[name][n, position] = getattr(block.layer, name)
                    layered["activation"][n, position] = ACTIVATIONS.index(block.layer.activation)
                    position += 1
        return cls(**single, **layered)

    @classmethod
    def from_specs(cls, specs: Sequence[StudentSpec]) -> "SpecTable":
        """One row a student."""
        return cls.from_blocks([spec.blocks() for spec in specs])
