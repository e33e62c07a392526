"""What can be lowered and measured: a stack of one block, a whole student, a checkpoint folder, a graph file."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import lru_cache, singledispatch
from pathlib import Path
from typing import Any

from export.graph_file import read_graph_file
from runs.errors import UserError
from runs.files import content_hash, file_sha256
from runs.registry import Registry
from students.spec import (
    LAYER_TYPES,
    Block,
    EmbeddingBlock,
    HeadBlock,
    LanguageHeadBlock,
    LayerBlock,
    StudentSpec,
    TokenHeadBlock,
)


@dataclass(frozen=True)
class Stack:
    """`depth` copies of one block's shape, each with weights of its own; layers only, other blocks stand alone."""

    block: Block
    depth: int = 4


@dataclass(frozen=True)
class Checkpoint:
    """A folder that `transformers` can load: a student of ours or a stock BERT."""

    folder: Path


@dataclass(frozen=True)
class GraphFile:
    """An ONNX file."""

    path: Path


Item = Stack | StudentSpec | Checkpoint | GraphFile
"""A bare `StudentSpec` is lowered with random weights, which hardly matter for time."""


def copies(stack: Stack) -> int:
    """How many copies of the block a stack really has: only layers that make all tokens can follow each other."""
    return stack.depth if isinstance(stack.block, LayerBlock) and not stack.block.first_only else 1


WEIGHT_FILES = ("model*.safetensors", "pytorch_model*.bin")
"""What `transformers` calls a model's weights; files of the first pattern that matches are read."""


def checkpoint_files(folder: Path) -> list[Path]:
    """The config and weight files that make a checkpoint what it is; `UserError` where there are none."""
    if not folder.is_dir():
        raise UserError(f"the model folder {folder} does not exist.")
    config = folder / "config.json"
    if not config.is_file():
        raise UserError(f"{folder} is not a model: it has no config.json.")
    for pattern in WEIGHT_FILES:
        weights = sorted(folder.glob(pattern))
        if weights:
            return [config, *weights]
    raise UserError(f"{folder} has a config.json but no weights (model.safetensors): save the model there again.")


@lru_cache(maxsize=256)
def _hash_of(path: Path, size_bytes: int, modified_ns: int) -> str:
    """SHA-256 of a file that is not read again until its size or time changes."""
    return file_sha256(path)


def _file_hash(path: Path) -> str:
    about = path.stat()
    return _hash_of(path.resolve(), about.st_size, about.st_mtime_ns)


PLAIN_BLOCKS: dict[type[Block], str] = {
    EmbeddingBlock: "embedding",
    HeadBlock: "head",
    TokenHeadBlock: "token-head",
    LanguageHeadBlock: "language-head",
}
"""Blocks that are numbers alone → what they are called."""


def block_to_json(block: Block) -> dict[str, Any]:
    """A block's numbers, and which kind of block it is."""
    if isinstance(block, LayerBlock):
        layer = {"type": block.layer.type, **asdict(block.layer)}
        only = {"first_only": True} if block.first_only else {}
        return {"kind": "layer", "hidden_width": block.hidden_width, "layer": layer, **only}
    return {"kind": PLAIN_BLOCKS[type(block)], **asdict(block)}


def _layer_block(hidden_width: int, layer: dict[str, Any], first_only: bool = False) -> LayerBlock:
    numbers = dict(layer)
    return LayerBlock(hidden_width, LAYER_TYPES[numbers.pop("type")](**numbers), first_only)


BLOCK_READERS: Registry[Callable[..., Block]] = Registry("block kind")
BLOCK_READERS.register("layer")(_layer_block)
for _type, _kind in PLAIN_BLOCKS.items():
    BLOCK_READERS.register(_kind)(_type)


def block_from_json(value: dict[str, Any]) -> Block:
    """The inverse of `block_to_json`."""
    numbers = dict(value)
    return BLOCK_READERS[numbers.pop("kind")](**numbers)


@singledispatch
def item_to_json(item: Item) -> dict[str, Any]:
    """Plain numbers, names and absolute paths; `item_from_json` is the inverse, in this or another process."""
    raise TypeError(f"{type(item).__name__} is not an item")


@item_to_json.register
def _(item: Stack) -> dict[str, Any]:
    return {"kind": "stack", "block": block_to_json(item.block), "depth": copies(item)}


@item_to_json.register
def _(item: StudentSpec) -> dict[str, Any]:
    return {"kind": "student", "spec": item.to_json()}


@item_to_json.register
def _(item: Checkpoint) -> dict[str, Any]:
    return {"kind": "checkpoint", "folder": str(item.folder.resolve())}


@item_to_json.register
def _(item: GraphFile) -> dict[str, Any]:
    return {"kind": "graph", "path": str(item.path.resolve())}


ITEM_READERS: Registry[Callable[[dict[str, Any]], Item]] = Registry("item kind")
ITEM_READERS.register("stack")(lambda value: Stack(block_from_json(value["block"]), value["depth"]))
ITEM_READERS.register("student")(lambda value: StudentSpec.from_json(value["spec"]))
ITEM_READERS.register("checkpoint")(lambda value: Checkpoint(Path(value["folder"])))
ITEM_READERS.register("graph")(lambda value: GraphFile(Path(value["path"])))


def item_from_json(value: Any) -> Item:
    """Read `item_to_json`'s form; anything else is a `UserError`."""
    try:
        return ITEM_READERS[value["kind"]](value)
    except (TypeError, KeyError, AttributeError) as problem:
        raise UserError(f"this is not an item to measure: {problem!r}.") from None


SHOWN = ("qkv_width", "ffn_width", "kernel", "bottleneck_width")
"""Numbers of a layer that its key shows; the others are in its hash."""


@singledispatch
def item_key(item: Item) -> str:
    """A name for the item by its content: equal items have equal keys wherever they lie, and others have others."""
    raise TypeError(f"{type(item).__name__} is not an item")


@item_key.register
def _(item: Stack) -> str:
    block = item.block
    kind = block_to_json(block)["kind"]
    readable = f"{kind}-{block.hidden_width}"
    if isinstance(block, LayerBlock):
        numbers = "-".join(f"{name[0]}{value}" for name, value in asdict(block.layer).items() if name in SHOWN)
        readable = f"{copies(item)}x{block.layer.type}-{block.hidden_width}-{numbers}"
    return f"{readable}-{content_hash(item_to_json(item))}"


@item_key.register
def _(item: StudentSpec) -> str:
    return f"student-{len(item.layers)}x{item.hidden_width}-{content_hash(item.to_json())}"


@item_key.register
def _(item: Checkpoint) -> str:
    hashes = {path.name: _file_hash(path) for path in checkpoint_files(item.folder)}
    return f"checkpoint-{content_hash(hashes, 16)}"


@item_key.register
def _(item: GraphFile) -> str:
    if not item.path.is_file():
        raise UserError(f"the file {item.path} does not exist.")
    return f"graph-{_file_hash(item.path)[:16]}"


@singledispatch
def item_blocks(item: Item) -> tuple[Block, ...] | None:
    """The blocks that the item consists of, or None for a graph file that does not say."""
    raise TypeError(f"{type(item).__name__} is not an item")


@item_blocks.register
def _(item: Stack) -> tuple[Block, ...]:
    return (item.block,) * copies(item)


@item_blocks.register
def _(item: StudentSpec) -> tuple[Block, ...]:
    return item.blocks()


@item_blocks.register
def _(item: Checkpoint) -> tuple[Block, ...]:
    # Loading a checkpoint needs torch and transformers, whose import takes seconds that other items can do without.
    from students.bert import load_model

    return load_model(item.folder).config.spec_object.blocks()


@item_blocks.register
def _(item: GraphFile) -> tuple[Block, ...] | None:
    spec = read_graph_file(item.path).spec
    return None if spec is None else spec.blocks()
