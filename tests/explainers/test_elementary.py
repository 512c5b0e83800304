"""Fused attention written out gives what PyTorch gives, with every mask that people pass."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from regard.core.errors import CapabilityError
from regard.explainers.elementary import ElementaryMode

HIDDEN = torch.tensor([[False] * 5, [False, False, True, True, False]])


def rand(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"is_causal": True},
        {"scale": 0.3},
        {"attn_mask": ~HIDDEN[1].expand(4, 5)},
        {"attn_mask": torch.linspace(-2, 2, 20, dtype=torch.float64).reshape(4, 5)},
    ],
    ids=["plain", "causal", "scale", "bool", "float"],
)
def test_scaled_dot_product_attention(given: dict) -> None:
    q, k, v = rand(2, 3, 4, 6), rand(2, 3, 5, 6), rand(2, 3, 5, 7)
    expected = functional.scaled_dot_product_attention(q, k, v, **given)
    with ElementaryMode():
        found = functional.scaled_dot_product_attention(q, k, v, **given)
    torch.testing.assert_close(found, expected)


def test_grouped_queries() -> None:
    q, k, v = rand(2, 4, 3, 6), rand(2, 2, 3, 6), rand(2, 2, 3, 6)
    expected = functional.scaled_dot_product_attention(q, k, v, enable_gqa=True)
    with ElementaryMode():
        torch.testing.assert_close(functional.scaled_dot_product_attention(q, k, v, enable_gqa=True), expected)


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("widths", [{}, {"kdim": 3, "vdim": 5}])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(
    "given",
    [
        {},
        {"key_padding_mask": HIDDEN},
        {"attn_mask": HIDDEN[1].expand(4, 5)},
        {"attn_mask": torch.linspace(-2, 2, 20, dtype=torch.float64).reshape(4, 5), "need_weights": False},
        {"attn_mask": torch.linspace(-2, 2, 120, dtype=torch.float64).reshape(6, 4, 5)},
        {"average_attn_weights": False},
    ],
    ids=["plain", "padding", "bool", "float", "per head", "heads"],
)
def test_multi_head_attention(batch_first: bool, widths: dict, bias: bool, given: dict) -> None:
    module = nn.MultiheadAttention(6, 3, batch_first=batch_first, bias=bias, **widths).double().eval()
    query, key, value = rand(2, 4, 6), rand(2, 5, widths.get("kdim", 6)), rand(2, 5, widths.get("vdim", 6))
    if not batch_first:
        query, key, value = (t.transpose(0, 1) for t in (query, key, value))
    expected = module(query, key, value, **given)
    with ElementaryMode():
        found = module(query, key, value, **given)
    torch.testing.assert_close(found[0], expected[0])
    assert (found[1] is None) == (expected[1] is None)
    if expected[1] is not None:
        torch.testing.assert_close(found[1], expected[1])


def test_one_case_without_a_batch() -> None:
    module, x = nn.MultiheadAttention(6, 2).double().eval(), rand(4, 6)
    expected = module(x, x, x)
    with ElementaryMode():
        found = module(x, x, x)
    torch.testing.assert_close(found, expected)


def test_added_tokens_are_refused() -> None:
    module, x = nn.MultiheadAttention(6, 2, add_bias_kv=True).double().eval(), rand(4, 1, 6)
    with ElementaryMode(), pytest.raises(CapabilityError, match="bias_k"):
        module(x, x, x)
