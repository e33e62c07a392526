"""Causal students: nothing sees what comes later, the cache changes no number, padding on any side is harmless."""

from typing import Any

import pytest
import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache

from runs.errors import UserError
from students.model import build_student
from students.spec import BottleneckLayer, FeedForwardLayer, Head, StudentSpec, TransformerLayer

SPEC = StudentSpec(
    embedding_width=12,
    hidden_width=24,
    layers=(FeedForwardLayer(30), TransformerLayer(3, 12, 40), BottleneckLayer(8, 2, 16, 20, 2)),
    vocabulary_size=50,
    maximum_positions=30,
    head=Head("causal-lm"),
)


@pytest.fixture(scope="module")
def model() -> Any:
    made = build_student(SPEC)
    generator = torch.Generator().manual_seed(5)
    for weight in made.parameters():
        weight.data += (0.1 if weight.dim() == 1 else 1.0) * torch.randn(weight.shape, generator=generator)
    return made


@pytest.fixture
def ids() -> Tensor:
    return torch.randint(50, (3, 10), generator=torch.Generator().manual_seed(1))


@torch.inference_mode()
def test_a_later_token_changes_nothing_before_it(model: Any, ids: Tensor) -> None:
    before = model(ids).logits
    ids[:, 6] = (ids[:, 6] + 1) % 50
    after = model(ids).logits
    assert torch.equal(before[:, :6], after[:, :6])
    assert not torch.isclose(before[:, 6:], after[:, 6:]).all()


@torch.inference_mode()
@pytest.mark.parametrize("sizes", [(10,), (4, 6), (1,) * 10])
def test_the_cache_changes_no_logit(model: Any, ids: Tensor, sizes: tuple[int, ...]) -> None:
    cache, found = DynamicCache(), []
    for part in ids.split(sizes, dim=1):
        found.append(model(part, past_key_values=cache).logits)
    assert torch.allclose(torch.cat(found, dim=1), model(ids).logits, atol=1e-5)
    assert len(cache.layers) == 2


@torch.inference_mode()
def test_padding_on_either_side_is_harmless(model: Any, ids: Tensor) -> None:
    expected = model(ids[:1, :6]).logits
    for padding in ((3, 0), (0, 3), (1, 2)):
        padded = torch.nn.functional.pad(ids[:1, :6], padding, value=9)
        mask = torch.nn.functional.pad(torch.ones(1, 6, dtype=torch.long), padding)
        found = model(padded, attention_mask=mask).logits[:, padding[0] : padding[0] + 6]
        assert torch.allclose(found, expected, atol=1e-5)


def test_generate_of_transformers_with_and_without_cache(model: Any, ids: Tensor) -> None:
    mask = torch.ones_like(ids)
    mask[1, :4] = 0
    with_cache, without = (
        model.generate(input_ids=ids, attention_mask=mask, max_new_tokens=12, do_sample=False, use_cache=cached)
        for cached in (True, False)
    )
    assert torch.equal(with_cache, without)
    alone = model.generate(input_ids=ids[1:2, 4:], max_new_tokens=12, do_sample=False)
    assert torch.equal(alone[0, 6:], with_cache[1, 10:])
    assert len(set(with_cache[:, 10:].flatten().tolist())) > 3


def test_too_long_a_text_and_a_cache_without_use(model: Any, ids: Tensor) -> None:
    cache = DynamicCache()
    with torch.inference_mode(), pytest.raises(UserError, match="31 tokens"):
        for _ in range(3):
            model(ids, past_key_values=cache)
        model(ids[:, :1], past_key_values=cache)
    other = build_student(StudentSpec(8, 8, (TransformerLayer(1, 8, 8),), vocabulary_size=50, head=Head("none")))
    with pytest.raises(UserError, match="no use for a cache"):
        other(ids, past_key_values=DynamicCache())
