"""Attention in mixed precision is that of fp32, and elsewhere what it was asked in."""

import pytest
import torch
from torch.nn import functional as F

from students.layers import additive_mask, attend


@pytest.mark.parametrize("given", [torch.float32, torch.bfloat16])
def test_mixed_precision_on_a_cpu_computes_it_in_fp32(given: torch.dtype) -> None:
    torch.manual_seed(0)
    query, key, value = (torch.randn(2, 3, 7, 8).to(given).requires_grad_(True) for _ in range(3))
    mask = additive_mask(torch.tensor([[1] * 7, [1] * 4 + [0] * 3]))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = attend(query, key, value, mask)
    wanted = F.scaled_dot_product_attention(query.float(), key.float(), value.float(), attn_mask=mask)
    assert found.dtype == torch.float32 and torch.equal(found, wanted)
    found.sum().backward()
    assert query.grad is not None and query.grad.dtype == given


@pytest.mark.parametrize("given", [torch.float32, torch.bfloat16])
def test_elsewhere_it_has_the_type_it_is_asked_in(given: torch.dtype) -> None:
    query, key, value = (torch.randn(2, 3, 7, 8).to(given) for _ in range(3))
    assert attend(query, key, value, None).dtype == given
