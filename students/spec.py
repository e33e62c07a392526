"""What a student is: frozen, validated, hashable numbers that know their own size and cost, without torch."""

from dataclasses import asdict, dataclass, field, fields
from typing import Any

from runs.errors import UserError
from students.counts import Cost, linear, norm
from students.heads import CAUSAL_LAYERS, HEAD_BLOCKS, POOLED_HEADS, AnyHeadBlock, HeadSizes
from students.heads import Head as Head
from students.heads import HeadBlock as HeadBlock
from students.heads import HeadKind as HeadKind
from students.heads import LanguageHeadBlock as LanguageHeadBlock
from students.heads import TokenHeadBlock as TokenHeadBlock
from students.layer_counts import layer_cost, transformer_cost
from students.layer_types import LAYER_TYPES as LAYER_TYPES
from students.layer_types import Activation as Activation
from students.layer_types import BottleneckLayer as BottleneckLayer
from students.layer_types import ConvolutionLayer as ConvolutionLayer
from students.layer_types import FeedForwardLayer as FeedForwardLayer
from students.layer_types import Layer as Layer
from students.layer_types import TransformerLayer as TransformerLayer
from students.layer_types import layer_text as layer_text
from students.layer_types import require_positive
from students.sharing import checked_sharing


@dataclass(frozen=True)
class EmbeddingBlock:
    """Word, position and token-type embeddings, their layer norm, and a projection if the widths differ."""

    embedding_width: int
    hidden_width: int
    vocabulary_size: int
    maximum_positions: int
    token_types: int

    @property
    def factorised(self) -> int:
        """1 where a projection from embedding to hidden width follows, else 0."""
        return int(self.embedding_width != self.hidden_width)

    def _cost(self, batch_size: int, sequence_length: int) -> Cost:
        """Without the tables: of them only the rows that the tokens name are read."""
        tokens = batch_size * sequence_length
        # Three rows are read, the first is written, and two sums read two numbers and write one.
        gathered = Cost(elements=7 * tokens * self.embedding_width)
        projected = linear(tokens, self.embedding_width, self.hidden_width).times(self.factorised)
        return gathered + norm(tokens, self.embedding_width) + projected

    def parameters(self) -> int:
        """Number of weights."""
        rows = self.vocabulary_size + self.maximum_positions + self.token_types
        return rows * self.embedding_width + self._cost(1, 1).parameters

    def flops(self, batch_size: int, sequence_length: int) -> int:
        """FLOPs of matrix products."""
        return self._cost(batch_size, sequence_length).flops

    def bytes_moved(self, batch_size: int, sequence_length: int, bytes_per_weight: float) -> float:
        """Bytes; only the rows that the tokens name are read from the tables, not the tables."""
        return self._cost(batch_size, sequence_length).bytes_moved(bytes_per_weight)


@dataclass(frozen=True)
class LayerBlock:
    """One layer at a hidden width.

    `first_only` is a layer that sees all tokens and makes the first alone: the last one before a head that reads no
    other token.
    """

    hidden_width: int
    layer: Layer
    first_only: bool = False

    def __post_init__(self) -> None:
        if self.first_only and not isinstance(self.layer, TransformerLayer):
            raise UserError(f"a layer of type {self.layer.type} cannot make the first token alone.")

    def _cost(self, batch_size: int, sequence_length: int) -> Cost:
        if self.first_only and isinstance(self.layer, TransformerLayer):
            return transformer_cost(self.layer, self.hidden_width, batch_size, sequence_length, batch_size)
        return layer_cost(self.layer, self.hidden_width, batch_size, sequence_length)

    def parameters(self) -> int:
        """Number of weights."""
        return self._cost(1, 1).parameters

    def flops(self, batch_size: int, sequence_length: int) -> int:
        """FLOPs of matrix products and convolutions."""
        return self._cost(batch_size, sequence_length).flops

    def bytes_moved(self, batch_size: int, sequence_length: int, bytes_per_weight: float) -> float:
        """Bytes: weights once, activations at every operator."""
        return self._cost(batch_size, sequence_length).bytes_moved(bytes_per_weight)


Block = EmbeddingBlock | LayerBlock | AnyHeadBlock
"""What is measured."""


@dataclass(frozen=True)
class StudentSpec:
    """A student's architecture. Layers may differ from each other; widths are in channels."""

    embedding_width: int
    hidden_width: int
    layers: tuple[Layer, ...]
    vocabulary_size: int = 30522
    maximum_positions: int = 512
    token_types: int = 2
    head: Head = field(default_factory=Head)
    sharing: tuple[int, ...] | None = None
    """The layer whose weights each layer uses, itself or an equal earlier one; None where none is shared."""

    def __post_init__(self) -> None:
        require_positive(self, "embedding_width", "hidden_width", "vocabulary_size", "maximum_positions", "token_types")
        if not isinstance(self.layers, tuple) or not self.layers:
            raise UserError("a student needs a tuple of at least one layer.")
        object.__setattr__(self, "sharing", checked_sharing(self.layers, self.sharing))
        for place, layer in enumerate(self.layers):
            if self.head.kind == "causal-lm" and layer.type not in CAUSAL_LAYERS:
                raise UserError(f"layer {place} is of type {layer.type}, which sees later words: causal-lm forbids it.")

    @property
    def owners(self) -> tuple[int, ...]:
        """For each layer the one whose weights it uses, itself where it does not share."""
        return tuple(range(len(self.layers))) if self.sharing is None else self.sharing

    @property
    def first_only(self) -> bool:
        """Whether the last layer need make no token but the first, since that is all the head reads."""
        return self.head.kind in POOLED_HEADS and isinstance(self.layers[-1], TransformerLayer)

    def blocks(self) -> tuple[Block, ...]:
        """The parts in the order they run: embedding, layers, head if there is one."""
        embedding = EmbeddingBlock(
            self.embedding_width, self.hidden_width, self.vocabulary_size, self.maximum_positions, self.token_types
        )
        layers = [LayerBlock(self.hidden_width, layer) for layer in self.layers]
        if self.first_only:
            layers[-1] = LayerBlock(self.hidden_width, self.layers[-1], first_only=True)
        sizes = HeadSizes(self.hidden_width, self.embedding_width, self.vocabulary_size, self.head.labels)
        head = HEAD_BLOCKS[self.head.kind](sizes)
        return (embedding, *layers) if head is None else (embedding, *layers, head)

    def parameters(self) -> int:
        """Number of weights, embeddings and head included; shared ones count once."""
        again = sum(
            LayerBlock(self.hidden_width, layer).parameters()
            for place, (owner, layer) in enumerate(zip(self.owners, self.layers, strict=True))
            if owner != place
        )
        return sum(block.parameters() for block in self.blocks()) - again

    def flops(self, batch_size: int, sequence_length: int) -> int:
        """FLOPs of matrix products for one forward pass."""
        return sum(block.flops(batch_size, sequence_length) for block in self.blocks())

    def bytes_moved(self, batch_size: int, sequence_length: int, bytes_per_weight: float = 4.0) -> float:
        """Bytes read and written by one forward pass."""
        return sum(block.bytes_moved(batch_size, sequence_length, bytes_per_weight) for block in self.blocks())

    def to_json(self) -> dict[str, Any]:
        """Plain numbers and names; `from_json` is its inverse."""
        layers = [{"type": layer.type, **asdict(layer)} for layer in self.layers]
        plain = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("layers", "head", "sharing")}
        sharing = {} if self.sharing is None else {"sharing": list(self.sharing)}
        return {**plain, "layers": layers, "head": asdict(self.head), **sharing}

    @classmethod
    def from_json(cls, value: Any) -> "StudentSpec":
        """Read `to_json`'s form; a `UserError` names the key that is wrong."""
        try:
            data = dict(value)
            layers = tuple(_layer_from_json(dict(layer)) for layer in data.pop("layers"))
            head = Head(**data.pop("head", {}))
            return cls(layers=layers, head=head, **data)
        except (TypeError, ValueError, KeyError) as problem:
            raise UserError(f"this is not a student spec: {problem}.") from None


def _layer_from_json(value: dict[str, Any]) -> Layer:
    kind = value.pop("type", TransformerLayer.type)
    return LAYER_TYPES[kind](**value)


def transformer_layers(spec: StudentSpec, purpose: str) -> tuple[TransformerLayer, ...]:
    """The spec's layers where all are of type `transformer`; else a `UserError`: "`purpose` knows …"."""
    for place, layer in enumerate(spec.layers):
        if not isinstance(layer, TransformerLayer):
            raise UserError(
                f"layer {place} of this student is of type {layer.type}: {purpose} knows transformer alone."
            )
    return tuple(layer for layer in spec.layers if isinstance(layer, TransformerLayer))


def uniform_spec(
    layers: int,
    hidden_width: int,
    heads: int,
    ffn_width: int,
    *,
    qkv_width: int | None = None,
    activation: Activation = "gelu",
    embedding_width: int | None = None,
    **rest: Any,
) -> StudentSpec:
    """A spec whose layers are all alike; qkv and embedding widths default to the hidden width."""
    layer = TransformerLayer(heads, qkv_width or hidden_width, ffn_width, activation)
    return StudentSpec(embedding_width or hidden_width, hidden_width, (layer,) * layers, **rest)
