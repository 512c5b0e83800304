"""Attention rollout again, from a transformer's weights."""

import math

import numpy as np
from torch import Tensor

from reference import cam as literal

from .by_hand import Maps, Question, array
from .stand_ins import ViT


def attention_rollout(q: Question) -> Maps | None:
    """Abnar and Zuidema 2020, section 3, for the vision transformer of this folder: its probabilities from its weights.

    The product over blocks of half the mean over heads and half the identity, read at the class token, or over all
    tokens where those are averaged.
    """
    network = q.network
    if not isinstance(network, ViT):
        return None
    entered: list[Tensor] = []
    handles = [b.attn.register_forward_pre_hook(lambda _, args: entered.append(args[0])) for b in network.blocks]
    try:
        q.score(q.x)
    finally:
        for handle in handles:
            handle.remove()
    rolled = np.eye(entered[0].shape[1])
    for block, tokens in zip(network.blocks, entered, strict=True):
        width, heads = tokens.shape[2], block.attn.heads
        weight, bias = (array(p[None]) for p in (block.attn.qkv.weight, block.attn.qkv.bias))
        mixed = tokens[0].double().numpy() @ weight.T + bias
        mean = np.zeros_like(rolled)
        for h in range(heads):
            d = width // heads
            query, key = (mixed[:, n * width + h * d : n * width + (h + 1) * d] for n in (0, 1))
            scores = np.exp(query @ key.T / math.sqrt(d))
            mean += scores / scores.sum(1, keepdims=True) / heads
        rolled = (0.5 * mean + 0.5 * np.eye(len(mean))) @ rolled
    row = rolled[0] if network.pool == "class" else rolled.mean(0)
    patches = row[network.n_first :].reshape(network.grid)
    return [literal.interpolate(patches, q.x[0].shape[2:])[None]]
