"""What a checkpoint folder's config.json alone says of its size: a spec, and in words what a spec cannot say of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runs.errors import UserError
from runs.files import read_json
from runs.registry import Registry
from students.heads import POOLED_HEADS, SPAN_ENDS, Head, HeadKind
from students.layer_types import Activation
from students.spec import StudentSpec, uniform_spec

OWN_TYPE = "tailorbird-student"
"""What the config of a student of ours calls itself."""

LANGUAGE_HEADS: tuple[HeadKind, ...] = ("masked-lm", "causal-lm")


@dataclass(frozen=True)
class Outline:
    """A spec that costs what a checkpoint costs, and in `notes` where the two differ."""

    spec: StudentSpec
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Family:
    """What the config of one BERT-like model type calls each size; `notes` hold for all its models."""

    layers: str = "num_hidden_layers"
    hidden: str = "hidden_size"
    heads: str = "num_attention_heads"
    ffn: str = "intermediate_size"
    activation: str = "hidden_act"
    token_types: str | None = "type_vocab_size"
    embedding: str | None = None
    """None where embeddings are as wide as the hidden state."""
    groups: str | None = None
    """Number of groups of neighbouring layers that share their weights; None where none do."""
    notes: tuple[str, ...] = ()


FAMILIES: Registry[Family] = Registry("type of checkpoint")
"""`model_type` of a config → how it is read. Names and meanings as in `transformers` 5."""
for _name in ("bert", "roberta", "xlm-roberta", "camembert"):
    FAMILIES.register(_name)(Family())
FAMILIES.register("electra")(Family(embedding="embedding_size"))
FAMILIES.register("albert")(Family(embedding="embedding_size", groups="num_hidden_groups"))
FAMILIES.register("distilbert")(Family("n_layers", "dim", "n_heads", "hidden_dim", "activation", token_types=None))
FAMILIES.register("mpnet")(
    Family(token_types=None, notes=("the bias that it adds to attention scores for relative positions is left out",))
)

CLASS_ENDINGS: Mapping[str, HeadKind] = {
    "ForSequenceClassification": "classification",
    "ForTokenClassification": "tokens",
    "ForQuestionAnswering": "spans",
    "ForMaskedLM": "masked-lm",
    "ForCausalLM": "causal-lm",
    "LMHeadModel": "causal-lm",
    "Model": "none",
}
"""How the class that was saved ends → what it answers; the first that fits."""

ACTIVATIONS: Mapping[str, Activation] = {
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
    **dict.fromkeys(("gelu", "gelu_new", "gelu_fast", "gelu_python", "gelu_pytorch_tanh", "quick_gelu"), "gelu"),
}
"""Theirs → ours, which takes about as long."""
EXACT = ("gelu", "relu", "silu", "swish")
"""Those that are the same function as ours."""


def checkpoint_outline(folder: Path) -> Outline:
    """The size of a student of ours or of a stock BERT-like checkpoint; no weights are read.

    Raises:
        UserError: no config, a model type that is not in `FAMILIES`, a size that is missing or impossible.
    """
    if not (folder / "config.json").is_file():
        raise UserError(f"{folder} is not a model: it has no config.json.")
    settings = read_json(folder / "config.json", "model's config")
    kind = str(settings.get("model_type")) if isinstance(settings, dict) else ""
    if kind == OWN_TYPE:
        return Outline(StudentSpec.from_json(settings.get("spec")))
    if kind not in FAMILIES:
        known = ", ".join(FAMILIES)
        raise UserError(f"{folder} holds a model of type {kind!r}: only {known} and students of ours can be predicted.")
    try:
        return _outline(FAMILIES[kind], settings)
    except UserError as problem:
        raise UserError(f"the config.json in {folder} makes no model: {problem}") from None


def _outline(family: Family, settings: Mapping[str, Any]) -> Outline:
    head, head_notes = saved_head(settings)
    activation = str(settings.get(family.activation, "gelu"))
    if activation not in ACTIVATIONS:
        raise UserError(f"its activation {activation!r} is not one of {', '.join(ACTIVATIONS)}.")
    if settings.get("add_cross_attention"):
        raise UserError("it attends to another model's output (add_cross_attention), which no student does.")
    layers, hidden = _size(settings, family.layers), _size(settings, family.hidden)
    spec = uniform_spec(
        layers,
        hidden,
        _size(settings, family.heads),
        _size(settings, family.ffn),
        activation=ACTIVATIONS[activation],
        embedding_width=hidden if family.embedding is None else _size(settings, family.embedding),
        vocabulary_size=_size(settings, "vocab_size"),
        maximum_positions=_size(settings, "max_position_embeddings"),
        token_types=1 if family.token_types is None else _size(settings, family.token_types),
        head=head,
        sharing=_sharing(settings, family, layers),
    )
    said = {
        f"its activation {activation} is taken for {ACTIVATIONS[activation]}": activation not in EXACT,
        "its relative positions are left out": settings.get("position_embedding_type", "absolute") != "absolute",
        "one row of token types is counted that it does not have": family.token_types is None,
        "its output words have weights of their own, which are not counted": head.kind in LANGUAGE_HEADS
        and not settings.get("tie_word_embeddings", True),
        "its last layer is taken to make the first token alone, as our exports do": head.kind in POOLED_HEADS,
    }
    return Outline(spec, (*family.notes, *head_notes, *(note for note, holds in said.items() if holds)))


def _size(settings: Mapping[str, Any], key: str) -> int:
    value = settings.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise UserError(f"{key} is {value!r} and must be a whole number of at least 1.")
    return value


def saved_head(settings: Mapping[str, Any]) -> tuple[Head, tuple[str, ...]]:
    """What the class that was saved answers, and what of that a head of ours lacks."""
    classes = settings.get("architectures")
    saved = str(classes[0]) if isinstance(classes, list) and classes else "Model"
    kind = next((kind for ending, kind in CLASS_ENDINGS.items() if saved.endswith(ending)), None)
    if kind is None:
        return Head("none", SPAN_ENDS), (f"the head of its class {saved} is left out",)
    if kind not in (*POOLED_HEADS, "tokens"):
        return Head(kind, SPAN_ENDS), ()
    names = settings.get("id2label")
    labels = len(names) if isinstance(names, dict) else _size({"num_labels": 2, **settings}, "num_labels")
    if labels > 1:
        return Head(kind, labels), ()
    one = Head("regression", 1) if kind == "classification" else Head(kind, 2)
    return one, () if one.labels == 1 else ("its one label a token is counted as two",)


def _sharing(settings: Mapping[str, Any], family: Family, layers: int) -> tuple[int, ...] | None:
    """The layer whose weights each layer uses (`StudentSpec.sharing`), in groups of neighbours as ALBERT has them."""
    if family.groups is None:
        return None
    if settings.get("inner_group_num", 1) != 1:
        raise UserError("inner_group_num must be 1.")
    groups = _size(settings, family.groups)
    if groups > layers:
        raise UserError(f"{family.groups} is {groups}, more than its {layers} layers.")
    group = [place * groups // layers for place in range(layers)]
    return tuple(map(group.index, group))
