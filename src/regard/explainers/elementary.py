"""Attention that a library computes in one call, as the elementary operations that it is made of.

A method that must see the attention probabilities, or must change how a signal passes back through them, runs the
network under a torch function mode. Fused calls (`scaled_dot_product_attention`, `nn.MultiheadAttention`, its fast
path) hide them; here they are written out, so that the mode meets each of their operations.
"""

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from regard.core.errors import CapabilityError

__all__ = ["ElementaryMode", "attend", "multi_head_attention"]

_MULTI_HEAD = inspect.signature(functional.multi_head_attention_forward)


def _additive(mask: Tensor | None, like: Tensor, *, allowed: bool) -> Tensor | None:
    """A mask as what is added to the logits; a mask of bool is true where attention is ``allowed``, or where not."""
    if mask is None or mask.dtype != torch.bool:
        return mask
    closed = ~mask if allowed else mask
    return torch.zeros(mask.shape, dtype=like.dtype, device=like.device).masked_fill(closed, -math.inf)


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """softmax(q k^T scale + mask) v, as `torch.nn.functional.scaled_dot_product_attention` documents it.

    Parameters
    ----------
    query, key, value
        (..., head, token, width).
    attn_mask
        Added to the logits, or bool: true where attention is allowed.
    dropout_p
        Share of the probabilities that is dropped.
    is_causal
        Whether a token sees only those before it.
    scale
        Of the logits; by default one over the root of the width.
    enable_gqa
        Whether keys and values have fewer heads, each for a group of queries.

    Returns
    -------
    Tensor
        (..., head, token, width).
    """
    if enable_gqa:
        groups = query.shape[-3] // key.shape[-3]
        key, value = key.repeat_interleave(groups, -3), value.repeat_interleave(groups, -3)
    logits = torch.matmul(query, key.transpose(-2, -1)) * (1 / math.sqrt(query.shape[-1]) if scale is None else scale)
    if is_causal:
        seen = torch.ones(logits.shape[-2:], dtype=torch.bool, device=query.device).tril()
        logits = logits.masked_fill(~seen, -math.inf)
    mask = _additive(attn_mask, logits, allowed=True)
    if mask is not None:
        logits = logits + mask
    probabilities = torch.softmax(logits, -1)
    if dropout_p > 0:
        probabilities = functional.dropout(probabilities, dropout_p)
    return torch.matmul(probabilities, value)


def multi_head_attention(args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Tensor, Tensor | None]:
    """What `nn.MultiheadAttention` computes, from the arguments of `multi_head_attention_forward`.

    Tokens come first, (token, batch, width), or (token, width) for one case, as that function takes them.

    Returns
    -------
    tuple
        The tokens, and None for the weights, or the weights where they are asked for.

    Raises
    ------
    CapabilityError
        If tokens are added to the keys inside the call.
    """
    bound = _MULTI_HEAD.bind(*args, **kwargs)
    bound.apply_defaults()
    a = bound.arguments
    added = [n for n in ("bias_k", "bias_v", "static_k", "static_v") if a[n] is not None]
    if added or a["add_zero_attn"]:
        raise CapabilityError(
            f"attention with {(added or ['add_zero_attn'])[0]}, which adds tokens that come from no place",
            "attention among the tokens that go in",
            "choose integrated-gradients",
        )
    lone = a["query"].ndim < 3
    query, key, value = (t.unsqueeze(1) if lone else t for t in (a["query"], a["key"], a["value"]))
    (n_query, n_cases, width), n_key, heads = query.shape, key.shape[0], a["num_heads"]
    biases = (None,) * 3 if a["in_proj_bias"] is None else a["in_proj_bias"].chunk(3)
    if a["use_separate_proj_weight"]:
        weights = (a["q_proj_weight"], a["k_proj_weight"], a["v_proj_weight"])
    else:
        weights = a["in_proj_weight"].chunk(3)

    def projected(tokens: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        made = functional.linear(tokens, weight, bias)
        return made.reshape(made.shape[0], n_cases, heads, width // heads).permute(1, 2, 0, 3)

    q, k, v = (projected(t, w, b) for t, w, b in zip((query, key, value), weights, biases, strict=True))
    mask = _additive(a["attn_mask"], q, allowed=False)
    if mask is not None and mask.ndim > 2:
        mask = mask.reshape(-1, heads, n_query, n_key)
    padding = _additive(a["key_padding_mask"], q, allowed=False)
    if padding is not None:
        padding = padding.reshape(n_cases, 1, 1, n_key)
        mask = padding if mask is None else mask + padding
    logits = torch.matmul(q, k.transpose(-2, -1)) * (1 / math.sqrt(width // heads))
    probabilities = torch.softmax(logits if mask is None else logits + mask, -1)
    if a["training"] and a["dropout_p"] > 0:
        probabilities = functional.dropout(probabilities, a["dropout_p"])
    tokens = torch.matmul(probabilities, v).permute(2, 0, 1, 3).reshape(n_query, n_cases, width)
    output = functional.linear(tokens, a["out_proj_weight"], a["out_proj_bias"])
    shown: Tensor | None = None
    if a["need_weights"]:
        shown = probabilities.mean(1) if a["average_attn_weights"] else probabilities
    if lone:
        return output.squeeze(1), None if shown is None else shown.squeeze(0)
    return output, shown


class ElementaryMode(TorchFunctionMode):
    """A torch function mode that meets fused attention as its elementary operations; no module is touched.

    A subclass says in `met` what happens at each call.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        given = dict(kwargs or {})
        if func is functional.multi_head_attention_forward:
            with self:
                return multi_head_attention(args, given)
        if func is functional.scaled_dot_product_attention:
            with self:
                return attend(*args, **given)
        return self.met(func, args, given)

    def met(self, func: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """Do what stands in the place of ``func(*args, **kwargs)``."""
        return func(*args, **kwargs)
