"""A student that writes on: a causal language model with a key-value cache that `generate` of `transformers` drives."""

from torch import Tensor
from transformers import GenerationMixin
from transformers.cache_utils import Cache, DynamicCache
from transformers.modeling_outputs import CausalLMOutputWithPast
from transformers.utils.generic import can_return_tuple

from students.head_modules import LanguageHeadModule
from students.headed import StudentWithHead, token_loss


class StudentForCausalLM(StudentWithHead, GenerationMixin):
    """Encoder whose tokens look back alone, and at every place the scores of the word that follows."""

    kinds = ("causal-lm",)
    head: LanguageHeadModule

    @can_return_tuple  # type: ignore[untyped-decorator]
    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        labels: Tensor | None = None,
        output_hidden_states: bool | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        use_cache: bool = False,
        asked: Tensor | None = None,
    ) -> CausalLMOutputWithPast:
        """int64 [B, S] → logits [B, S, V], and the cache with these tokens where one was given or asked for.

        With a cache of P earlier tokens the mask is [B, P + S]. Positions follow the mask: padding on either side, or
        between a prompt and what is written, changes nothing. With `labels` [B, S], the ids themselves, also the
        cross entropy of each token given those before; −100 left out. With `asked`, bool [B, S], the logits are of its
        places alone [places, V], and there is no loss.
        """
        cache = DynamicCache() if use_cache and past_key_values is None else past_key_values
        encoded = self.student(input_ids, attention_mask, token_type_ids, output_hidden_states, position_ids, cache)
        hidden = encoded.last_hidden_state if asked is None else encoded.last_hidden_state[asked]
        logits = self.head(hidden, self.student.embeddings.word.weight)
        loss = None if labels is None or asked is not None else token_loss(logits[:, :-1], labels[:, 1:])
        return CausalLMOutputWithPast(
            loss=loss, logits=logits, past_key_values=cache, hidden_states=encoded.hidden_states
        )
