"""A small vision transformer written twice: as a network, as people write theirs, and as literal loops in NumPy."""

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["Literal", "SmallTransformer"]

GRID, EDGE, WIDTH, HEADS = (2, 3), 2, 4, 2


class SmallTransformer(nn.Module):
    """Patches of 2 x 2, two blocks (attention, then two layers with a ReLU), read at a class token or by the mean.

    Parameters
    ----------
    attention
        ``"module"`` (`nn.MultiheadAttention`, tokens first), ``"batch-first"``, ``"fused"`` or ``"by-hand"``.
    pool
        ``"class"`` or ``"mean"``.
    """

    def __init__(self, attention: str = "module", pool: str = "class") -> None:
        super().__init__()
        self.attention, self.pool = attention, pool
        self.embed = nn.Conv2d(1, WIDTH, EDGE, EDGE)
        self.token = nn.Parameter(torch.randn(1, 1, WIDTH))
        n_tokens = math.prod(GRID) + (pool == "class")
        self.position = nn.Parameter(torch.randn(1, n_tokens, WIDTH))
        first = attention == "batch-first"
        self.attentions = nn.ModuleList([nn.MultiheadAttention(WIDTH, HEADS, batch_first=first) for _ in range(2)])
        self.wide = nn.ModuleList([nn.Linear(WIDTH, 5) for _ in range(2)])
        self.narrow = nn.ModuleList([nn.Linear(5, WIDTH) for _ in range(2)])
        self.head = nn.Linear(WIDTH, 1)
        rng = np.random.default_rng(4)
        for parameter in self.parameters():
            parameter.data = torch.from_numpy(rng.normal(size=parameter.shape)) * 0.6

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.embed(x).flatten(2).transpose(1, 2)
        if self.pool == "class":
            tokens = torch.cat([self.token.expand(len(x), -1, -1), tokens], 1)
        tokens = tokens + self.position
        for attention, wide, narrow in zip(self.attentions, self.wide, self.narrow, strict=True):
            tokens = tokens + self._attend(attention, tokens)
            tokens = tokens + narrow(functional.relu(wide(tokens)))
        return self.head(tokens[:, 0] if self.pool == "class" else tokens.mean(1))

    def _attend(self, module: nn.MultiheadAttention, tokens: Tensor) -> Tensor:
        if self.attention == "batch-first":
            return module(tokens, tokens, tokens)[0]
        if self.attention == "module":
            turned = tokens.transpose(0, 1)
            return module(turned, turned, turned, need_weights=False)[0].transpose(0, 1)
        n_cases, n_tokens, _ = tokens.shape
        packed = functional.linear(tokens, module.in_proj_weight, module.in_proj_bias)
        q, k, v = packed.reshape(n_cases, n_tokens, 3, HEADS, WIDTH // HEADS).permute(2, 0, 3, 1, 4)
        if self.attention == "fused":
            mixed = functional.scaled_dot_product_attention(q, k, v)
        else:
            mixed = ((q @ k.transpose(-2, -1)) / math.sqrt(WIDTH // HEADS)).softmax(-1) @ v
        return module.out_proj(mixed.transpose(1, 2).reshape(n_cases, n_tokens, WIDTH))


class Literal:
    """The same network as loops; probabilities can be put in the place of its own."""

    def __init__(self, network: SmallTransformer) -> None:
        self.p = {name: t.detach().numpy() for name, t in network.named_parameters()}
        self.pool = network.pool

    def run(self, x: np.ndarray, put: dict | None = None) -> tuple[float, list[np.ndarray]]:
        """f(x), and the probabilities (head, token, token) of each block.

        Parameters
        ----------
        x
            Image (row, column).
        put
            Block -> probabilities instead of the block's own.
        """
        p, tokens = self.p, []
        for row in range(GRID[0]):
            for column in range(GRID[1]):
                patch = x[row * EDGE : (row + 1) * EDGE, column * EDGE : (column + 1) * EDGE]
                tokens.append([(p["embed.weight"][c, 0] * patch).sum() + p["embed.bias"][c] for c in range(WIDTH)])
        if self.pool == "class":
            tokens.insert(0, list(p["token"][0, 0]))
        t = np.array(tokens) + p["position"][0]
        n, width, probabilities = len(t), WIDTH // HEADS, []
        for block in range(2):
            w, b = p[f"attentions.{block}.in_proj_weight"], p[f"attentions.{block}.in_proj_bias"]
            q, k, v = (
                np.array([w[i * WIDTH : (i + 1) * WIDTH] @ one + b[i * WIDTH : (i + 1) * WIDTH] for one in t])
                for i in range(3)
            )
            attention, mixed = np.zeros((HEADS, n, n)), np.zeros((n, WIDTH))
            for h in range(HEADS):
                part = slice(h * width, (h + 1) * width)
                for i in range(n):
                    logits = [math.exp(q[i, part] @ k[j, part] / math.sqrt(width)) for j in range(n)]
                    attention[h, i] = np.array(logits) / sum(logits)
            if put and block in put:
                attention = put[block]
            for h in range(HEADS):
                part = slice(h * width, (h + 1) * width)
                for i in range(n):
                    mixed[i, part] = sum(attention[h, i, j] * v[j, part] for j in range(n))
            probabilities.append(attention)
            w, b = p[f"attentions.{block}.out_proj.weight"], p[f"attentions.{block}.out_proj.bias"]
            t = t + np.array([w @ one + b for one in mixed])
            w, b = p[f"wide.{block}.weight"], p[f"wide.{block}.bias"]
            hidden = np.maximum(np.array([w @ one + b for one in t]), 0)
            w, b = p[f"narrow.{block}.weight"], p[f"narrow.{block}.bias"]
            t = t + np.array([w @ one + b for one in hidden])
        read = t[0] if self.pool == "class" else t.mean(0)
        return float(p["head.weight"][0] @ read + p["head.bias"][0]), probabilities

    def slopes(self, x: np.ndarray, step: float = 1e-5) -> list[np.ndarray]:
        """dy/dP of each block by central differences, what follows the block running again."""
        _, probabilities = self.run(x)
        found = []
        for block, own in enumerate(probabilities):
            slope = np.zeros_like(own)
            for place in np.ndindex(own.shape):
                values = []
                for sign in (1, -1):
                    changed = own.copy()
                    changed[place] += sign * step
                    values.append(self.run(x, {block: changed})[0])
                slope[place] = (values[0] - values[1]) / (2 * step)
            found.append(slope)
        return found
