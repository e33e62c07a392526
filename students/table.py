"""Many students at once as arrays, so that predictors and searches need no Python loop over specs."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from students.spec import Block, EmbeddingBlock, HeadBlock, LayerBlock, StudentSpec, TransformerLayer

Column = npt.NDArray[np.float64]

ACTIVATIONS = ("gelu", "relu", "silu")

LAYERED = ("heads", "qkv_width", "ffn_width", "activation", "first_only")
"""Columns with one number a layer."""


def unknown_part(block: Block | None) -> str:
    """What of a block a table cannot say, in words; empty where it says all."""
    if isinstance(block, LayerBlock):
        return "" if isinstance(block.layer, TransformerLayer) else f"layers of type {block.layer.type}"
    return "" if block is None or isinstance(block, EmbeddingBlock | HeadBlock) else "a head over every token"


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
    first_only: Column
    """1 for a layer that makes the first token alone, [n, depth]."""
    unknown: npt.NDArray[np.str_]
    """The first part of a row that these columns do not describe (`unknown_part`), [n]; it counts as absent."""

    def __len__(self) -> int:
        return len(self.hidden_width)

    @property
    def present(self) -> Column:
        """1 where a row has a layer at that depth, [n, depth]."""
        return (self.heads > 0).astype(np.float64)

    def answered(self, batch_size: int, sequence_length: int) -> Column:
        """Tokens that each layer makes, over all texts, [n, depth]."""
        made: Column = batch_size * np.where(self.first_only > 0, 1.0, float(sequence_length))
        return made

    @classmethod
    def from_blocks(cls, rows: Sequence[Sequence[Block]]) -> "SpecTable":
        """One row a sequence of blocks; all of a row's blocks share their hidden width."""
        depth = max([1, *(sum(isinstance(block, LayerBlock) for block in row) for row in rows)])
        single = {name: np.zeros(len(rows)) for name in ("hidden_width", "embedding_width", "embedding_rows", "labels")}
        layered = {name: np.zeros((len(rows), depth)) for name in LAYERED}
        for n, row in enumerate(rows):
            position = 0
            for block in row:
                single["hidden_width"][n] = block.hidden_width
                if isinstance(block, EmbeddingBlock):
                    single["embedding_width"][n] = block.embedding_width
                    single["embedding_rows"][n] = block.vocabulary_size + block.maximum_positions + block.token_types
                elif isinstance(block, HeadBlock):
                    single["labels"][n] = block.labels
                elif isinstance(block, LayerBlock) and isinstance(block.layer, TransformerLayer):
                    for name in ("heads", "qkv_width", "ffn_width"):
                        layered[name][n, position] = getattr(block.layer, name)
                    layered["first_only"][n, position] = block.first_only
                    layered["activation"][n, position] = ACTIVATIONS.index(block.layer.activation)
                    position += 1
        unknown = [next(filter(None, map(unknown_part, row)), "") for row in rows]
        return cls(**single, **layered, unknown=np.array(unknown, dtype=np.str_))

    @classmethod
    def from_specs(cls, specs: Sequence[StudentSpec]) -> "SpecTable":
        """One row a student."""
        return cls.from_blocks([spec.blocks() for spec in specs])
