"""How many bytes a student's file has at most, block by block, without making it."""

from students.operators import Product, operators
from students.spec import Block, EmbeddingBlock, LanguageHeadBlock, StudentSpec

FILE_BYTES = 8_000
"""What a file has beside its blocks: inputs, mask, spec, labels."""

BLOCK_BYTES = {"fp32": 4_000, "int8": 7_000}
"""Names and operators of a block, rather more than there are."""

ROUNDED = ("int8", "int8-static")
"""Precisions that store products and tables of words and positions in a byte a number, with a scale a row."""


def block_bytes(block: Block, precision: str) -> float:
    """Bytes of a block in a file of a precision, at most: one of `ROUNDED`, or one with 4 bytes a number."""
    whole = 4.0 * block.parameters()
    if precision not in ROUNDED:
        return whole + BLOCK_BYTES["fp32"]
    products = [one for one in operators(block, 1, 1) if isinstance(one, Product)]
    if isinstance(block, LanguageHeadBlock):
        products.pop()  # the table of words, which is the embedding's
    tables = [(product.columns, product.inner) for product in products]
    if isinstance(block, EmbeddingBlock):
        tables += [(rows, block.embedding_width) for rows in (block.vocabulary_size, block.maximum_positions)]
    return (
        whole
        + BLOCK_BYTES["int8"]
        - 3.0 * sum(rows * width for rows, width in tables)
        + 4.0 * sum(rows for rows, _ in tables)
    )


def file_bytes(spec: StudentSpec, precision: str) -> float:
    """Bytes of a student's file: at most, and hardly more than it has. Weights that layers share are stored once."""
    blocks = list(spec.blocks())
    for place in reversed(range(len(spec.layers))):
        if spec.owners[place] != place:
            del blocks[1 + place]
    return FILE_BYTES + sum(block_bytes(block, precision) for block in blocks)
