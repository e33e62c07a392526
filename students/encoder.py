"""The student's config and encoder: what every student model, whatever its head, is made of."""

from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers import initialization as init
from transformers.cache_utils import Cache
from transformers.modeling_outputs import BaseModelOutput

import students.layer_bottleneck
import students.layer_convolution
import students.layer_feed_forward  # noqa: F401  registers the layer types' modules
from runs.errors import UserError
from students.causal import attending_layers, later_mask, token_positions
from students.layers import EmbeddingModule, additive_mask, build_block
from students.spec import EmbeddingBlock, HeadKind, LayerBlock, StudentSpec
from students.tying import tied_names

ProblemType = Literal["regression", "single_label_classification"]

PROBLEM_TYPES: dict[HeadKind, ProblemType] = {
    "classification": "single_label_classification",
    "regression": "regression",
}
"""What `transformers` calls the heads that it tells apart by this setting."""


class StudentConfig(PreTrainedConfig):
    """A `StudentSpec` in a form that `transformers` saves; labels follow the spec's head."""

    model_type = "tailorbird-student"

    spec: dict[str, Any] | None = None
    dropout: float = 0.0

    def __post_init__(self, **kwargs: Any) -> None:
        """Check the spec and take label count and problem type from it."""
        if self.spec is not None:
            head = StudentSpec.from_json(self.spec).head
            self.problem_type = PROBLEM_TYPES.get(head.kind)
            if self.id2label is None:
                kwargs["num_labels"] = head.labels
        super().__post_init__(**kwargs)  # type: ignore[no-untyped-call]

    @property
    def spec_object(self) -> StudentSpec:
        """The spec; `UserError` where this config has none."""
        if self.spec is None:
            raise UserError("this student config holds no spec.")
        return StudentSpec.from_json(self.spec)

    @property
    def num_hidden_layers(self) -> int:
        """What `transformers` makes a cache for."""
        return len(self.spec_object.layers)


class StudentPreTrainedModel(PreTrainedModel):
    """What all student models share."""

    config: StudentConfig
    config_class = StudentConfig
    base_model_prefix = "student"
    _supports_sdpa = True

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """BERT's, but for depthwise convolutions: over so few inputs a weight of 0.02 would let hardly anything by."""
        if isinstance(module, nn.Conv1d):
            init.normal_(module.weight, std=module.kernel_size[0] ** -0.5)
        else:
            super()._init_weights(module)  # type: ignore[no-untyped-call]


class StudentModel(StudentPreTrainedModel):
    """Embedding and layers; answers hidden states. Under a causal head every token looks back alone."""

    _keys_to_ignore_on_load_unexpected = [r"^head\."]

    def __init__(self, config: StudentConfig) -> None:
        super().__init__(config)
        spec = config.spec_object
        blocks = spec.blocks()
        assert isinstance(blocks[0], EmbeddingBlock)
        self.causal = spec.head.kind == "causal-lm"
        self.first_only = spec.first_only
        self.embeddings = EmbeddingModule(blocks[0], config.dropout)
        layers = [block for block in blocks if isinstance(block, LayerBlock)]
        self.layers = nn.ModuleList(build_block(block, config.dropout) for block in layers)
        self._tied_weights_keys = tied_names(self.layers, spec.owners)
        self.post_init()  # type: ignore[no-untyped-call]

    def get_expanded_tied_weights_keys(self, all_submodels: bool = False) -> dict[str, str]:
        """What `transformers` ties, saves once and restores: the weights of shared layers, whatever the config says."""
        if all_submodels:
            return dict(super().get_expanded_tied_weights_keys(all_submodels=True))
        return dict(self._tied_weights_keys)

    def get_input_embeddings(self) -> nn.Module:
        """The word embedding."""
        return self.embeddings.word

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        output_hidden_states: bool | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        first_only: bool = False,
    ) -> BaseModelOutput:
        """int64 [B, S] → last hidden state [B, S, h]; hidden states are the embedding's and each layer's.

        Under a causal head `past_key_values` holds earlier tokens' keys and values and takes these tokens' in; the
        mask [B, T] then covers earlier tokens as well. With `first_only` the last layer may answer [B, 1, h] (where the
        spec allows it, and nobody asks for hidden states): nobody reads the others.
        """
        if past_key_values is not None and not self.causal:
            raise UserError("this student looks both ways, so it has no use for a cache: only causal-lm has.")
        length = input_ids.shape[1]
        if self.causal:
            attention_mask = _whole_mask(input_ids, attention_mask, past_key_values)
            position_ids = token_positions(attention_mask, length) if position_ids is None else position_ids
        hidden = self.embeddings(input_ids, token_type_ids, position_ids)
        mask = additive_mask(attention_mask, hidden.dtype)
        if self.causal and mask is not None:
            mask = mask + later_mask(mask.shape[-1], length, mask)
        special = self._remembering(past_key_values)
        wanted = self.config.output_hidden_states if output_hidden_states is None else output_hidden_states
        if first_only and self.first_only and not wanted:
            special[len(self.layers) - 1] = {"first_only": True}
        states = [hidden]
        for index, layer in enumerate(self.layers):
            hidden = layer(hidden, mask, **special.get(index, {}))
            if wanted:
                states.append(hidden)
        return BaseModelOutput(last_hidden_state=hidden, hidden_states=tuple(states) if wanted else None)

    def _remembering(self, cache: Cache | None) -> dict[int, dict[str, Any]]:
        """Layer index → the argument that hands a layer its part of the cache; layers without attention have none."""
        if cache is None:
            return {}
        attending = enumerate(attending_layers(self.config.spec_object))
        return {index: {"remember": partial(cache.update, layer_idx=place)} for place, (index, _) in attending}


def _whole_mask(input_ids: Tensor, attention_mask: Tensor | None, cache: Cache | None) -> Tensor:
    """The mask over all tokens so far: all ones where none is given."""
    if attention_mask is not None:
        return attention_mask
    batch, length = input_ids.shape
    earlier = 0 if cache is None else cache.get_seq_length()
    return torch.ones((batch, earlier + length), dtype=torch.long, device=input_ids.device)
