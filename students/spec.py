"""What a student is: frozen, validated, hashable numbers that know their own size and cost, without torch."""

from dataclasses import asdict, dataclass, field, fields
from typing import Any, ClassVar, Literal, get_args

from runs.errors import UserError
from runs.registry import Registry
from students import counts

Activation = Literal["gelu", "relu", "silu"]
HeadKind = Literal["none", "classification", "regression"]


def _positive(owner: object, *names: str) -> None:
    for name in names:
        value = getattr(owner, name)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise UserError(f"{type(owner).__name__}.{name} is {value!r}: it must be a whole number of at least 1.")


@dataclass(frozen=True)
class TransformerLayer:
    """Self-attention and a feed-forward, both with residual and layer norm after (BERT's layer).

    `qkv_width` is the width of queries, keys and values over all heads together and need not be the hidden width.
    """

    heads: int
    qkv_width: int
    ffn_width: int
    activation: Activation = "gelu"

    type: ClassVar[str] = "transformer"

    def __post_init__(self) -> None:
        _positive(self, "heads", "qkv_width", "ffn_width")
        if self.qkv_width % self.heads:
            raise UserError(f"qkv_width {self.qkv_width} does not divide into {self.heads} heads.")
        if self.activation not in get_args(Activation):
            raise UserError(f"unknown activation {self.activation!r}: use one of {', '.join(get_args(Activation))}.")


Layer = TransformerLayer
"""Grows into a union as layer types join."""

LAYER_TYPES: Registry[type[Layer]] = Registry("layer type")
LAYER_TYPES.register(TransformerLayer.type)(TransformerLayer)


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

    def parameters(self) -> int:
        """Number of weights."""
        rows = self.vocabulary_size + self.maximum_positions + self.token_types
        return counts.embedding_parameters(self.embedding_width, self.hidden_width, rows, self.factorised)

    def flops(self, batch_size: int, sequence_length: int) -> int:
        """FLOPs of matrix products."""
        return counts.embedding_flops(
            self.embedding_width, self.hidden_width, self.factorised, batch_size, sequence_length
        )

    def bytes_moved(self, batch_size: int, sequence_length: int, bytes_per_weight: float) -> float:
        """Bytes; only the rows that the tokens name are read from the tables, not the tables."""
        read = self.factorised * (self.embedding_width * self.hidden_width + self.hidden_width)
        moved = counts.embedding_activations(
            self.embedding_width, self.hidden_width, self.factorised, batch_size, sequence_length
        )
        return read * bytes_per_weight + moved * counts.ACTIVATION_BYTES


@dataclass(frozen=True)
class LayerBlock:
    """One layer at a hidden width."""

    hidden_width: int
    layer: Layer

    def parameters(self) -> int:
        """Number of weights."""
        return counts.layer_parameters(self.hidden_width, self.layer.qkv_width, self.layer.ffn_width)

    def flops(self, batch_size: int, sequence_length: int) -> int:
        """FLOPs of matrix products."""
        layer = self.layer
        return counts.layer_flops(self.hidden_width, layer.qkv_width, layer.ffn_width, batch_size, sequence_length)

    def bytes_moved(self, batch_size: int, sequence_length: int, bytes_per_weight: float) -> float:
        """Bytes: weights once, activations at every operator."""
        layer = self.layer
        moved = counts.layer_activations(
            self.hidden_width, layer.qkv_width, layer.ffn_width, layer.heads, batch_size, sequence_length
        )
        return self.parameters() * bytes_per_weight + moved * counts.ACTIVATION_BYTES


@dataclass(frozen=True)
class HeadBlock:
    """Pooler and classifier over the first token; regression is one label without a softmax."""

    hidden_width: int
    labels: int

    def parameters(self) -> int:
        """Number of weights."""
        return counts.head_parameters(self.hidden_width, self.labels)

    def flops(self, batch_size: int, sequence_length: int) -> int:
        """FLOPs of matrix products; the length does not matter."""
        return counts.head_flops(self.hidden_width, self.labels, batch_size)

    def bytes_moved(self, batch_size: int, sequence_length: int, bytes_per_weight: float) -> float:
        """Bytes: weights once, one token's activations."""
        moved = counts.head_activations(self.hidden_width, self.labels, batch_size)
        return self.parameters() * bytes_per_weight + moved * counts.ACTIVATION_BYTES


Block = EmbeddingBlock | LayerBlock | HeadBlock
"""What is measured."""


@dataclass(frozen=True)
class Head:
    """What the student answers: `none` ends in hidden states, the others in [batch, labels] logits."""

    kind: HeadKind = "classification"
    labels: int = 2

    def __post_init__(self) -> None:
        if self.kind not in get_args(HeadKind):
            raise UserError(f"unknown head {self.kind!r}: use one of {', '.join(get_args(HeadKind))}.")
        _positive(self, "labels")
        if self.kind == "regression" and self.labels != 1:
            raise UserError(f"a regression head has one label, not {self.labels}.")
        if self.kind == "classification" and self.labels == 1:
            raise UserError("a classification head has at least two labels; one number to predict is a regression.")


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

    def __post_init__(self) -> None:
        _positive(self, "embedding_width", "hidden_width", "vocabulary_size", "maximum_positions", "token_types")
        if not isinstance(self.layers, tuple) or not self.layers:
            raise UserError("a student needs a tuple of at least one layer.")

    def blocks(self) -> tuple[Block, ...]:
        """The parts in the order they run: embedding, layers, head if there is one."""
        embedding = EmbeddingBlock(
            self.embedding_width, self.hidden_width, self.vocabulary_size, self.maximum_positions, self.token_types
        )
        layers = tuple(LayerBlock(self.hidden_width, layer) for layer in self.layers)
        head = () if self.head.kind == "none" else (HeadBlock(self.hidden_width, self.head.labels),)
        return (embedding, *layers, *head)

    def parameters(self) -> int:
        """Number of weights, embeddings and head included."""
        return sum(block.parameters() for block in self.blocks())

    def flops(self, batch_size: int, sequence_length: int) -> int:
        """FLOPs of matrix products for one forward pass."""
        return sum(block.flops(batch_size, sequence_length) for block in self.blocks())

    def bytes_moved(self, batch_size: int, sequence_length: int, bytes_per_weight: float = 4.0) -> float:
        """Bytes read and written by one forward pass."""
        return sum(block.bytes_moved(batch_size, sequence_length, bytes_per_weight) for block in self.blocks())

    def to_json(self) -> dict[str, Any]:
        """Plain numbers and names; `from_json` is its inverse."""
        layers = [{"type": layer.type, **asdict(layer)} for layer in self.layers]
        plain = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("layers", "head")}
        return {**plain, "layers": layers, "head": asdict(self.head)}

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
