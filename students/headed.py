"""Student models with a head that answers about a text: labels of the text or its tokens, spans, hidden words."""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.modeling_outputs import (
    MaskedLMOutput,
    QuestionAnsweringModelOutput,
    SequenceClassifierOutput,
    TokenClassifierOutput,
)

from runs.errors import UserError
from students.encoder import StudentConfig, StudentModel, StudentPreTrainedModel
from students.head_modules import LanguageHeadModule, TokenHeadModule
from students.layers import HeadModule, build_block
from students.spec import HeadKind

UNLABELLED = -100
"""A label that no loss counts, as everywhere in `transformers`."""


class StudentWithHead(StudentPreTrainedModel):
    """Encoder and head; subclasses say which kinds of head they take and how the loss is made."""

    kinds: ClassVar[tuple[HeadKind, ...]]
    head: nn.Module

    def __init__(self, config: StudentConfig) -> None:
        super().__init__(config)
        spec = config.spec_object
        if spec.head.kind == "none":
            raise UserError("this student has no head: load it with AutoModel, or give it one with `with_head`.")
        if spec.head.kind not in self.kinds:
            raise UserError(f"this student has a {spec.head.kind} head: load it with the class for that.")
        if config.num_labels != spec.head.labels:
            raise UserError(f"this student has {spec.head.labels} labels, not {config.num_labels}: use `with_head`.")
        self.student = StudentModel(config)
        self.head = build_block(spec.blocks()[-1], config.dropout)
        self.post_init()  # type: ignore[no-untyped-call]


class StudentForSequenceClassification(StudentWithHead):
    """Encoder, pooler and classifier; one label of a regression head is its answer."""

    kinds = ("classification", "regression")
    head: HeadModule

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        labels: Tensor | None = None,
        output_hidden_states: bool | None = None,
    ) -> SequenceClassifierOutput:
        """int64 [B, S] thrice → logits [B, labels]; with `labels` [B] also cross entropy, or MSE for regression."""
        encoded = self.student(input_ids, attention_mask, token_type_ids, output_hidden_states, first_only=True)
        logits = self.head(encoded.last_hidden_state)
        loss = None
        if labels is not None and self.config.problem_type == "regression":
            loss = F.mse_loss(logits[:, 0], labels.to(logits.dtype))
        elif labels is not None:
            loss = F.cross_entropy(logits, labels)
        return SequenceClassifierOutput(loss=loss, logits=logits, hidden_states=encoded.hidden_states)


class StudentForTokenClassification(StudentWithHead):
    """Encoder and a classifier over every token."""

    kinds = ("tokens",)
    head: TokenHeadModule

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        labels: Tensor | None = None,
        output_hidden_states: bool | None = None,
    ) -> TokenClassifierOutput:
        """int64 [B, S] thrice → logits [B, S, labels]; with `labels` [B, S] also cross entropy, −100 left out."""
        encoded = self.student(input_ids, attention_mask, token_type_ids, output_hidden_states)
        logits = self.head(encoded.last_hidden_state)
        loss = None if labels is None else token_loss(logits, labels)
        return TokenClassifierOutput(loss=loss, logits=logits, hidden_states=encoded.hidden_states)


class StudentForQuestionAnswering(StudentWithHead):
    """Encoder and two scores a token: where an answer starts and where it ends."""

    kinds = ("spans",)
    head: TokenHeadModule

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        start_positions: Tensor | None = None,
        end_positions: Tensor | None = None,
        output_hidden_states: bool | None = None,
    ) -> QuestionAnsweringModelOutput:
        """int64 [B, S] thrice → start and end logits [B, S]; with both positions [B] also their mean cross entropy.

        Positions beyond the text (an answer that truncation cut off) do not count.
        """
        encoded = self.student(input_ids, attention_mask, token_type_ids, output_hidden_states)
        start, end = self.head(encoded.last_hidden_state).unbind(dim=-1)
        loss = None
        if start_positions is not None and end_positions is not None:
            length = start.shape[1]
            ends = ((start, start_positions), (end, end_positions))
            parts = [F.cross_entropy(scores, place.clamp(0, length), ignore_index=length) for scores, place in ends]
            loss = torch.stack(parts).mean()
        return QuestionAnsweringModelOutput(
            loss=loss, start_logits=start, end_logits=end, hidden_states=encoded.hidden_states
        )


class StudentForMaskedLM(StudentWithHead):
    """Encoder, and at every place the scores of all words."""

    kinds = ("masked-lm",)
    head: LanguageHeadModule

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        labels: Tensor | None = None,
        output_hidden_states: bool | None = None,
        asked: Tensor | None = None,
    ) -> MaskedLMOutput:
        """int64 [B, S] thrice → logits [B, S, V]; with `labels` [B, S] also cross entropy, −100 left out.

        With `asked`, bool [B, S], the logits are of its places alone [places, V]; all would be most of the work.
        """
        encoded = self.student(input_ids, attention_mask, token_type_ids, output_hidden_states)
        hidden = encoded.last_hidden_state if asked is None else encoded.last_hidden_state[asked]
        logits = self.head(hidden, self.student.embeddings.word.weight)
        loss = None
        if labels is not None:
            loss = token_loss(logits, labels) if asked is None else F.cross_entropy(logits, labels[asked])
        return MaskedLMOutput(loss=loss, logits=logits, hidden_states=encoded.hidden_states)


def token_loss(logits: Tensor, labels: Tensor) -> Any:
    """Mean cross entropy of logits [B, S, n] over the labels [B, S] that are not −100."""
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=UNLABELLED)
