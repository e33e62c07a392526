"""What is asked of any model that teaches or learns, a student or a stock one: layers, widths, positions, words."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from distill.features import feature_widths
from students.encoder import StudentConfig
from students.spec import Head, StudentSpec, uniform_spec
from students.stock import ACTIVATIONS
from students.stock_encoders import first_position

MOST_POSITIONS = 512
"""Rows of a student's table of positions under a teacher that reads longer texts: none of the others would be trained.
It also stands for the positions of a teacher that has no table of them."""


def spec_of(model: Any) -> StudentSpec | None:
    """The spec of a model in the student's form; None of a stock one."""
    return model.config.spec_object if isinstance(model.config, StudentConfig) else None


def layers_of(model: Any) -> int:
    """Number of layers."""
    spec = spec_of(model)
    return int(model.config.num_hidden_layers) if spec is None else len(spec.layers)


def widths_of(model: Any, feature: str) -> tuple[int, ...]:
    """Channels of a feature (`distill.features.feature_widths`): a stock model has one width throughout."""
    spec = spec_of(model)
    if spec is None:
        return (int(model.config.hidden_size),) * (layers_of(model) + 1)
    return feature_widths(spec, feature)


def positions_of(model: Any) -> int:
    """Tokens that a text may have."""
    spec = spec_of(model)
    if spec is not None:
        return spec.maximum_positions
    rows = getattr(model.config, "max_position_embeddings", None)
    return MOST_POSITIONS if not rows or rows < 1 else int(rows) - first_position(model)


def words_of(model: Any) -> Tensor:
    """The table of words [vocabulary, width]."""
    table: Tensor = model.base_model.get_input_embeddings().weight
    return table


@dataclass(frozen=True)
class Inputs:
    """What a student reads, which is what its teacher reads."""

    vocabulary_size: int
    maximum_positions: int
    token_types: int


def decoder_shape(model: Any, head: Head, inputs: Inputs) -> StudentSpec:
    """A student of a stock decoder's depth and widths, which is what is timed and counted in its place.

    Its layers are a student's: a Llama's third product of a feed-forward, and its heads that share keys, it lacks.
    Weights are not looked at. Raises `UserError` for sizes that no student has.
    """
    config = model.config
    activation = ACTIVATIONS.get(config.hidden_act, "silu")
    sizes = (config.num_hidden_layers, config.hidden_size, config.num_attention_heads, config.intermediate_size)
    return uniform_spec(
        *sizes,
        activation=activation,
        vocabulary_size=inputs.vocabulary_size,
        maximum_positions=inputs.maximum_positions,
        token_types=inputs.token_types,
        head=head,
    )


def students_inputs(model: Any, tokenizer: Any) -> Inputs:
    """What the students of a teacher read; its weights are not looked at.

    Of a stock teacher they have as many token types as its table or its tokenizer tells apart, and at least one.
    """
    spec = spec_of(model)
    if spec is not None:
        return Inputs(spec.vocabulary_size, spec.maximum_positions, spec.token_types)
    told = tokenizer("a", "a", return_token_type_ids=True)["token_type_ids"]
    types = max(getattr(model.config, "type_vocab_size", None) or 1, 1 + max(told))
    return Inputs(int(model.config.vocab_size), min(positions_of(model), MOST_POSITIONS), types)
