"""The student as a `transformers` model: config, encoder, classifier, and the Auto classes that know them."""

from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification, PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput, SequenceClassifierOutput

from runs.errors import UserError
from runs.files import read_json
from students.layers import EmbeddingModule, HeadModule, additive_mask, build_block
from students.spec import EmbeddingBlock, Head, HeadBlock, HeadKind, LayerBlock, StudentSpec

ProblemType = Literal["regression", "single_label_classification"]

PROBLEM_TYPES: dict[HeadKind, ProblemType | None] = {
    "classification": "single_label_classification",
    "regression": "regression",
    "none": None,
}


class StudentConfig(PreTrainedConfig):
    """A `StudentSpec` in a form that `transformers` saves; labels follow the spec's head."""

    model_type = "tailorbird-student"

    spec: dict[str, Any] | None = None
    dropout: float = 0.0

    def __post_init__(self, **kwargs: Any) -> None:
        """Check the spec and take label count and problem type from it."""
        if self.spec is not None:
            head = StudentSpec.from_json(self.spec).head
            self.problem_type = PROBLEM_TYPES[head.kind]
            if self.id2label is None:
                kwargs["num_labels"] = head.labels
        super().__post_init__(**kwargs)  # type: ignore[no-untyped-call]

    @property
    def spec_object(self) -> StudentSpec:
        """The spec; `UserError` where this config has none."""
        if self.spec is None:
            raise UserError("this student config holds no spec.")
        return StudentSpec.from_json(self.spec)


class StudentPreTrainedModel(PreTrainedModel):
    """What both student models share."""

    config: StudentConfig
    config_class = StudentConfig
    base_model_prefix = "student"
    _supports_sdpa = True


class StudentModel(StudentPreTrainedModel):
    """Embedding and layers; answers hidden states."""

    _keys_to_ignore_on_load_unexpected = [r"^head\."]

    def __init__(self, config: StudentConfig) -> None:
        super().__init__(config)
        blocks = config.spec_object.blocks()
        assert isinstance(blocks[0], EmbeddingBlock)
        self.embeddings = EmbeddingModule(blocks[0], config.dropout)
        layers = [block for block in blocks if isinstance(block, LayerBlock)]
        self.layers = nn.ModuleList(build_block(block, config.dropout) for block in layers)
        self.post_init()  # type: ignore[no-untyped-call]

    def get_input_embeddings(self) -> nn.Module:
        """The word embedding."""
        return self.embeddings.word

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        output_hidden_states: bool | None = None,
    ) -> BaseModelOutput:
        """int64 [B, S] thrice → last hidden state [B, S, h]; hidden states are the embedding's and each layer's."""
        hidden = self.embeddings(input_ids, token_type_ids)
        mask = additive_mask(attention_mask, hidden.dtype)
        wanted = self.config.output_hidden_states if output_hidden_states is None else output_hidden_states
        states = [hidden]
        for layer in self.layers:
            hidden = layer(hidden, mask)
            if wanted:
                states.append(hidden)
        return BaseModelOutput(last_hidden_state=hidden, hidden_states=tuple(states) if wanted else None)


class StudentForSequenceClassification(StudentPreTrainedModel):
    """Encoder, pooler and classifier; one label of a regression head is its answer."""

    def __init__(self, config: StudentConfig) -> None:
        super().__init__(config)
        spec = config.spec_object
        head = spec.blocks()[-1]
        if not isinstance(head, HeadBlock):
            raise UserError("this student has no head: load it with AutoModel, or give it one with `with_head`.")
        if config.num_labels != head.labels:
            raise UserError(f"this student has {head.labels} labels, not {config.num_labels}: use `with_head`.")
        self.student = StudentModel(config)
        self.head = HeadModule(head, config.dropout)
        self.post_init()  # type: ignore[no-untyped-call]

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        labels: Tensor | None = None,
        output_hidden_states: bool | None = None,
    ) -> SequenceClassifierOutput:
        """int64 [B, S] thrice → logits [B, labels]; with `labels` [B] also cross entropy, or MSE for regression."""
        encoded = self.student(input_ids, attention_mask, token_type_ids, output_hidden_states)
        logits = self.head(encoded.last_hidden_state)
        loss = None
        if labels is not None and self.config.problem_type == "regression":
            loss = F.mse_loss(logits[:, 0], labels.to(logits.dtype))
        elif labels is not None:
            loss = F.cross_entropy(logits, labels)
        return SequenceClassifierOutput(loss=loss, logits=logits, hidden_states=encoded.hidden_states)


AutoConfig.register(StudentConfig.model_type, StudentConfig)
AutoModel.register(StudentConfig, StudentModel)
AutoModelForSequenceClassification.register(StudentConfig, StudentForSequenceClassification)


def build_student(
    spec: StudentSpec, seed: int = 0, *, label_names: tuple[str, ...] | None = None, dropout: float = 0.0
) -> StudentPreTrainedModel:
    """A student in eval mode with BERT's random weights, the same for the same seed; torch's own seed is left alone.

    `StudentModel` where the head is `none`, else `StudentForSequenceClassification`. `label_names` go into the config;
    another number of them than the head's labels raises `UserError`.
    """
    names = None if label_names is None else dict(enumerate(label_names))
    if names is not None and len(names) != spec.head.labels:
        raise UserError(f"{len(names)} label names were given for a head of {spec.head.labels} labels.")
    config = StudentConfig(spec=spec.to_json(), dropout=dropout)
    if names is not None:
        config.id2label, config.label2id = names, {name: n for n, name in names.items()}
    model_class = model_class_of(spec)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = model_class(config)
    model.train(False)
    return model


def model_class_of(spec: StudentSpec) -> type[StudentPreTrainedModel]:
    """The class that fits the spec's head."""
    return StudentModel if spec.head.kind == "none" else StudentForSequenceClassification


def encoder_of(model: StudentPreTrainedModel) -> StudentModel:
    """The `StudentModel` inside either kind of student."""
    encoder = model.student if isinstance(model, StudentForSequenceClassification) else model
    assert isinstance(encoder, StudentModel)
    return encoder


def with_head(
    model: StudentPreTrainedModel, head: Head, seed: int = 0, *, label_names: tuple[str, ...] | None = None
) -> StudentPreTrainedModel:
    """A copy of the student that ends in `head`: an old pooler is kept, the classifier is drawn anew from `seed`."""
    spec = replace(model.config.spec_object, head=head)
    result = build_student(spec, seed, label_names=label_names, dropout=model.config.dropout)
    encoder_of(result).load_state_dict(encoder_of(model).state_dict())
    if isinstance(model, StudentForSequenceClassification) and isinstance(result, StudentForSequenceClassification):
        result.head.pooler.load_state_dict(model.head.pooler.state_dict())
    return result


def load_student(folder: str | PathLike[str]) -> StudentPreTrainedModel:
    """The student that `save_pretrained` left in `folder`, in eval mode; raises `UserError` where there is none."""
    path = Path(folder)
    settings = read_json(path / "config.json", "student's config")
    if settings.get("model_type") != StudentConfig.model_type:
        raise UserError(f"{path} holds a {settings.get('model_type')!r} model, not a student.")
    config = StudentConfig.from_pretrained(path)
    loader: Any = model_class_of(config.spec_object)
    try:
        model, loading = loader.from_pretrained(path, config=config, output_loading_info=True, use_safetensors=True)
    except (OSError, ValueError, RuntimeError, SafetensorError) as problem:
        raise UserError(f"the student in {path} cannot be read: {str(problem).splitlines()[0]}") from None
    if loading["missing_keys"]:
        raise UserError(f"the student in {path} lacks weights, {sorted(loading['missing_keys'])[0]} the first of them.")
    student: StudentPreTrainedModel = model.train(False)
    return student
