"""Stock BERT both ways: its checkpoints become students, and students that BERT can express become its checkpoints."""

from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import BertConfig, BertModel, BertPreTrainedModel

from runs.errors import UserError
from runs.files import read_json
from students.bert_heads import BERT_HEADS, LANGUAGE_MODELS, head_of_bert, named_weights, shared_names
from students.headed import StudentWithHead
from students.layers import NORM_EPSILON
from students.model import StudentConfig, StudentPreTrainedModel, build_student, load_student
from students.reading import UNREADABLE, unreadable
from students.spec import Activation, Head, StudentSpec, TransformerLayer, uniform_spec

ACTIVATIONS: dict[str, Activation] = {"gelu": "gelu", "relu": "relu", "silu": "silu", "swish": "silu"}
"""BERT's name → ours."""

LANGUAGE_ACTIVATION = "gelu"
"""What the head of a language model uses; BERT's uses what its layers use, so they must use it too."""

EMBEDDING_NAMES = {
    "word": "word_embeddings",
    "position": "position_embeddings",
    "token_type": "token_type_embeddings",
    "norm": "LayerNorm",
}
LAYER_NAMES = {
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "output": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "expand": "intermediate.dense",
    "contract": "output.dense",
    "ffn_norm": "output.LayerNorm",
}


def _names(layers: int) -> dict[str, str]:
    """Our module names under the encoder → BERT's under `BertModel`."""
    embedding = {f"embeddings.{ours}": f"embeddings.{theirs}" for ours, theirs in EMBEDDING_NAMES.items()}
    return embedding | {
        f"layers.{layer}.{ours}": f"encoder.layer.{layer}.{theirs}"
        for layer in range(layers)
        for ours, theirs in LAYER_NAMES.items()
    }


def spec_of_bert(config: BertConfig, head: Head) -> StudentSpec:
    """The spec of a BERT encoder under a head; `UserError` names the first setting that a student cannot have."""
    language = head.kind in LANGUAGE_MODELS
    unsupported = {
        "hidden_act": config.hidden_act not in ACTIVATIONS or (language and config.hidden_act != LANGUAGE_ACTIVATION),
        "layer_norm_eps": config.layer_norm_eps != NORM_EPSILON,
        "is_decoder": config.is_decoder and head.kind != "causal-lm",
        "tie_word_embeddings": language and not config.tie_word_embeddings,
        "add_cross_attention": config.add_cross_attention,
        "position_embedding_type": getattr(config, "position_embedding_type", "absolute") != "absolute",
    }
    for name, wrong in unsupported.items():
        if wrong:
            raise UserError(f"this BERT has {name}={getattr(config, name)!r}, which a student cannot have.")
    return uniform_spec(
        config.num_hidden_layers,
        config.hidden_size,
        config.num_attention_heads,
        config.intermediate_size,
        activation=ACTIVATIONS[config.hidden_act],
        vocabulary_size=config.vocab_size,
        maximum_positions=config.max_position_embeddings,
        token_types=config.type_vocab_size,
        head=head,
    )


def _copy(target: nn.Module, source: nn.Module) -> None:
    state: dict[str, Tensor] = source.state_dict()
    target.load_state_dict(state)


def student_from_bert(model: BertPreTrainedModel, head: Head | None = None, seed: int = 0) -> StudentPreTrainedModel:
    """The same network as a student, in eval mode; outputs differ by rounding alone.

    `model` is a `BertModel` or one of the classes in `BERT_HEADS`. Without `head` its own is kept (`none` for a
    `BertModel`); another `head` takes over what both have, a pooler or a language model's transform; what is new is
    drawn from `seed`.
    """
    config: BertConfig = model.config
    own = head_of_bert(model)
    wanted = own if head is None else head
    keeps_labels = wanted == own and BERT_HEADS[wanted.kind].named_labels
    names = tuple((config.id2label or {}).values()) if keeps_labels else None
    spec = spec_of_bert(config, wanted)
    student = build_student(spec, seed, label_names=names, dropout=config.hidden_dropout_prob)
    encoder, bert = student.base_model, model.base_model
    for ours, theirs in _names(len(spec.layers)).items():
        _copy(encoder.get_submodule(ours), bert.get_submodule(theirs))
    if isinstance(student, StudentWithHead):
        weights = named_weights(model)
        for ours, theirs in shared_names(wanted, own).items():
            if theirs in weights:
                student.head.get_parameter(ours).data.copy_(weights[theirs])
    return student


def bert_config(spec: StudentSpec) -> BertConfig | None:
    """The stock config that says the same as `spec`, or None: BERT has one layer shape, and one width throughout."""
    first = spec.layers[0]
    alike = all(layer == first for layer in spec.layers)
    if not isinstance(first, TransformerLayer) or not alike:
        return None
    if spec.head.kind in LANGUAGE_MODELS and first.activation != LANGUAGE_ACTIVATION:
        return None
    if spec.embedding_width != spec.hidden_width or first.qkv_width != spec.hidden_width:
        return None
    config = BertConfig(
        vocab_size=spec.vocabulary_size,
        hidden_size=spec.hidden_width,
        num_hidden_layers=len(spec.layers),
        num_attention_heads=first.heads,
        intermediate_size=first.ffn_width,
        hidden_act=first.activation,
        max_position_embeddings=spec.maximum_positions,
        type_vocab_size=spec.token_types,
        layer_norm_eps=NORM_EPSILON,
        is_decoder=spec.head.kind == "causal-lm",
    )
    if spec.head.kind != "none":
        config.num_labels = spec.head.labels
    return config


def bert_from_student(student: StudentPreTrainedModel) -> BertPreTrainedModel:
    """The student as a stock model that plain `transformers` loads; `UserError` where `bert_config` has no answer.

    Its class is the head kind's in `BERT_HEADS`. Causal models number positions by place, students by real tokens
    alone: they answer alike where no padding comes before a text.
    """
    spec = student.config.spec_object
    config = bert_config(spec)
    if config is None:
        raise UserError("stock BERT cannot express this student: it needs equal layers and one width throughout.")
    config.hidden_dropout_prob = config.attention_probs_dropout_prob = student.config.dropout
    kind = BERT_HEADS[spec.head.kind]
    if kind.named_labels:
        config.problem_type = student.config.problem_type
        config.id2label, config.label2id = student.config.id2label, student.config.label2id
    without_pooler = {"add_pooling_layer": False} if kind.model is BertModel else {}
    model: BertPreTrainedModel
    with torch.random.fork_rng(devices=[]):
        model = kind.model(config, **without_pooler)
    encoder, bert = student.base_model, model.base_model
    for ours, theirs in _names(len(spec.layers)).items():
        _copy(bert.get_submodule(theirs), encoder.get_submodule(ours))
    if isinstance(student, StudentWithHead):
        weights = named_weights(model)
        for ours, theirs in kind.names.items():
            weights[theirs].data.copy_(student.head.get_parameter(ours))
    model.train(False)
    return model


def load_model(folder: str | PathLike[str], head: Head | None = None, seed: int = 0) -> StudentPreTrainedModel:
    """A student folder or a stock BERT folder as a student; `UserError` says what else the folder is.

    Of a BERT saved with a head that students do not have (next sentence and the like) the encoder is taken. `head` puts
    that head on a BERT encoder, as in `student_from_bert`.
    """
    path = Path(folder)
    if not path.is_dir():
        raise UserError(f"the model folder {path} does not exist.")
    if not (path / "config.json").is_file():
        raise UserError(f"{path} is not a model: it has no config.json.")
    settings = read_json(path / "config.json", "model's config")
    kind = settings.get("model_type") if isinstance(settings, dict) else None
    if kind == StudentConfig.model_type:
        return load_student(path)
    if kind != BertConfig.model_type:
        raise UserError(f"{path} holds a model of type {kind!r}: only 'bert' and students of ours can be read.")
    return student_from_bert(_load_bert(path, _loader(settings, head)), head, seed)


def _loader(settings: dict[str, Any], head: Head | None) -> Any:
    """The stock class to load: the one that was saved if its head is of use, else the encoder with its pooler."""
    saved = settings.get("architectures") or []
    kind = next((kind for kind in BERT_HEADS if BERT_HEADS[kind].model.__name__ in saved), "none")
    of_use = head is None or set(BERT_HEADS[head.kind].names) & set(BERT_HEADS[kind].names)
    return BERT_HEADS[kind].model if of_use else BertModel


def _load_bert(path: Path, loader: Any) -> BertPreTrainedModel:
    """A stock model; a checkpoint without a pooler gives one without a pooler, any other gap is a `UserError`."""
    try:
        model, loading = loader.from_pretrained(path, output_loading_info=True, dtype=torch.float32)
    except UNREADABLE as problem:
        raise unreadable(path, problem) from None
    missing = sorted(loading["missing_keys"])
    if isinstance(model, BertModel) and missing and all(name.startswith("pooler.") for name in missing):
        model.pooler = None
        missing = []
    if missing:
        raise UserError(f"the model in {path} lacks weights, {missing[0]} the first of {len(missing)}.")
    assert isinstance(model, BertPreTrainedModel)
    model.train(False)
    return model
