"""Every block that the members of a space can be made of, numbered, so that codes become rows of numbers by lookup."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from students.codes import Codes, CodeSpace
from students.heads import HEAD_BLOCKS, POOLED_HEADS, Head, HeadSizes
from students.spec import Block, EmbeddingBlock, LayerBlock, TransformerLayer
from students.table import ABSENT, BlockTable, Numbers


@dataclass(frozen=True)
class Surroundings:
    """What members of a space take from their teacher and task, since no gene says it."""

    vocabulary_size: int
    maximum_positions: int
    token_types: int
    head: Head


@dataclass(frozen=True, eq=False)
class SpaceBlocks:
    """The blocks of a space's members, each once, and the place of each in that list by its genes."""

    blocks: tuple[Block, ...]
    layers: Numbers
    """[first only, hidden, activation, heads, qkv, ffn], and the type where there are several; `ABSENT` where no such
    layer may be."""
    ends: Numbers
    """Embedding and head by hidden width and embedding, [hidden, embedding, 2]; `ABSENT` where there is none."""

    def table(self, space: CodeSpace, codes: Codes, once: bool = False) -> BlockTable:
        """Codes of members [n, genes] → their blocks: embedding, layers up to the greatest depth, head.

        With `once`, of layers that share their weights the first alone.
        """
        depths = space.depths(codes)
        slots = np.arange(int(depths.max(initial=1)))
        steps = np.cumprod([1, *self.layers.shape[:0:-1]])[::-1]
        layers = space.layer_view(codes) @ steps[-len(space.layer_genes) :]
        places = np.broadcast_to(layers, (len(codes), max(len(slots), space.slots)))[:, : len(slots)]
        places = places + (codes[:, 1:2] * steps[1] + codes[:, 2:3] * steps[2])
        places += (slots == depths[:, None] - 1) * steps[0]
        index = np.full((len(codes), len(slots) + 2), ABSENT, dtype=np.int32)
        index[:, [0, -1]] = self.ends[codes[:, 1], space.common(codes, "embedding")]
        held = slots < depths[:, None]
        if once and max(space.choices.sharing) > 1:
            held &= space.owners(codes)[:, : len(slots)] == slots
        np.copyto(index[:, 1:-1], self.layers.reshape(-1)[places], where=held)
        return BlockTable(self.blocks, index)


@lru_cache(maxsize=8)
def space_blocks(space: CodeSpace, around: Surroundings) -> SpaceBlocks:
    """Number the blocks of a space once; a member's last layer makes the first token alone where the head reads it."""
    choices = space.choices
    blocks: list[Block] = []

    def number(block: Block | None) -> int:
        if block is None:
            return ABSENT
        blocks.append(block)
        return len(blocks) - 1

    ends = np.full((len(choices.hidden), len(choices.embedding), 2), ABSENT, dtype=np.int32)
    heads = dict[Block, int]()
    for place, width in np.ndenumerate(space.embedding_widths):
        if not width:
            continue
        hidden, embedding = choices.hidden[place[0]], int(width)
        sizes = HeadSizes(hidden, embedding, around.vocabulary_size, around.head.labels)
        rest = (around.vocabulary_size, around.maximum_positions, around.token_types)
        head = HEAD_BLOCKS[around.head.kind](sizes)
        # Most heads do not look at the words, so that one does for all their widths.
        if head is not None and head not in heads:
            heads[head] = number(head)
        ends[place] = number(EmbeddingBlock(embedding, hidden, *rest)), ABSENT if head is None else heads[head]

    layer_counts = (len(choices.heads), len(choices.qkv), len(choices.ffn), len(choices.types))
    counts = (len(choices.hidden), len(choices.activation), *layer_counts[: len(space.layer_genes)])
    layers = np.full((2, *counts), ABSENT, dtype=np.int32)
    for genes in np.ndindex(counts):
        hidden_gene, activation, heads, rule, ffn = genes[:5]
        form = choices.types[genes[5] if space.typed else 0]
        qkv_width = int(space.qkv_widths[hidden_gene, heads, rule])
        if qkv_width if form.attends else not heads and not rule:
            hidden = choices.hidden[hidden_gene]
            layer = form.layer(
                hidden, choices.heads[heads], qkv_width, choices.ffn[ffn], choices.activation[activation]
            )
            layers[(0, *genes)] = layers[(1, *genes)] = number(LayerBlock(hidden, layer))
            if around.head.kind in POOLED_HEADS and isinstance(layer, TransformerLayer):
                layers[(1, *genes)] = number(LayerBlock(hidden, layer, first_only=True))
    return SpaceBlocks(tuple(blocks), layers, ends)
