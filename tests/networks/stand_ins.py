"""Small plain-PyTorch stand-ins for the shapes of networks that others publish.

How tokens, windows, slices and branches lie, not how well they are trained. All in float64 and evaluation mode, weights
drawn by a seed.
"""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

CONVOLUTIONS: dict[int, Any] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}


def seeded(network: nn.Module, seed: int = 0) -> nn.Module:
    """Weights drawn anew, large enough that no part of the network is idle."""
    generator = torch.Generator().manual_seed(seed)
    for name, p in network.named_parameters():
        size = 1 / p[0].numel() ** 0.5 if p.ndim > 1 else 0.1
        p.data = size * torch.randn(p.shape, generator=generator)
        if "norm" in name and name.endswith("weight"):
            p.data += 1
    return network.double().eval()


class Attention(nn.Module):
    """Self-attention with one projection for queries, keys and values."""

    def __init__(self, width: int, heads: int = 2, *, fused: bool = True) -> None:
        super().__init__()
        self.heads, self.fused = heads, fused
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        n, t, c = x.shape
        q, k, v = self.qkv(x).reshape(n, t, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        if self.fused:
            y = nn.functional.scaled_dot_product_attention(q, k, v)
        else:
            y = (q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5).softmax(-1) @ v
        return self.proj(y.transpose(1, 2).reshape(n, t, c))


class Block(nn.Module):
    """A pre-norm transformer block."""

    def __init__(self, width: int, attention: nn.Module | None = None) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn = attention or Attention(width)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class ViT(nn.Module):
    """A vision transformer of timm's shape: patch embedding, class and register tokens, blocks, norm, head.

    Parameters
    ----------
    n_axes
        Of the image.
    registers
        Register tokens behind the class token.
    pool
        What the head reads: the class token, or the mean over the patches.
    patches
        Whether patches are cut by a convolution or by reshaping.
    """

    def __init__(
        self,
        n_axes: int = 2,
        *,
        patch: int = 4,
        size: Sequence[int] = (16, 24, 8),
        width: int = 12,
        depth: int = 2,
        registers: int = 0,
        pool: Literal["class", "mean"] = "class",
        patches: Literal["convolution", "reshape"] = "convolution",
        fused: bool = True,
    ) -> None:
        super().__init__()
        self.patch, self.n_axes, self.pool, self.patches = patch, n_axes, pool, patches
        self.grid = tuple(s // patch for s in size[:n_axes])
        self.n_first = registers + (pool == "class")
        if patches == "convolution":
            self.patch_embed = CONVOLUTIONS[n_axes](1, width, patch, patch)
        else:
            self.patch_embed = nn.Linear(patch**n_axes, width)
        if self.n_first:
            self.first = nn.Parameter(torch.zeros(1, self.n_first, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, torch.Size(self.grid).numel(), width))
        self.blocks = nn.Sequential(*(Block(width, Attention(width, fused=fused)) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 1)
        seeded(self)

    def embed(self, x: Tensor) -> Tensor:
        if self.patches == "convolution":
            return self.patch_embed(x).flatten(2).transpose(1, 2)
        n = self.n_axes
        cut = x.reshape(x.shape[0], *(m for g in self.grid for m in (g, self.patch)))
        order = [0, *range(1, 2 * n, 2), *range(2, 2 * n + 1, 2)]
        return self.patch_embed(cut.permute(order).reshape(x.shape[0], -1, self.patch**n))

    def forward(self, x: Tensor) -> Tensor:
        t = self.embed(x) + self.pos_embed
        if self.n_first:
            t = torch.cat([self.first.expand(len(t), -1, -1), t], 1)
        t = self.norm(self.blocks(t))
        return self.head(t[:, 0] if self.pool == "class" else t[:, self.n_first :].mean(1))


class WindowBlock(nn.Module):
    """A block of Swin: attention inside shifted windows of a channels-last image."""

    def __init__(self, width: int, window: int, shift: int) -> None:
        super().__init__()
        self.window, self.shift = window, shift
        self.norm1 = nn.LayerNorm(width)
        self.attn = Attention(width)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        n, h, w, c = x.shape
        m = self.window
        y = torch.roll(self.norm1(x), (-self.shift, -self.shift), (1, 2))
        y = y.view(n, h // m, m, w // m, m, c).permute(0, 1, 3, 2, 4, 5).reshape(-1, m * m, c)
        y = self.attn(y)
        y = y.view(n, h // m, w // m, m, m, c).permute(0, 1, 3, 2, 4, 5).reshape(n, h, w, c)
        x = x + torch.roll(y, (self.shift, self.shift), (1, 2))
        return x + self.mlp(self.norm2(x))


class Merging(nn.Module):
    """Patch merging: every second place, side by side, and a linear layer."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * width)
        self.reduction = nn.Linear(4 * width, 2 * width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        parts = [x[:, i::2, j::2] for j in (0, 1) for i in (0, 1)]
        return self.reduction(self.norm(torch.cat(parts, -1)))


class Swin(nn.Module):
    """A Swin transformer of timm's shape: (N, H, W, C) before the head."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.patch_embed = nn.Conv2d(1, width, 2, 2)
        self.stage1 = nn.Sequential(WindowBlock(width, 2, 0), WindowBlock(width, 2, 1))
        self.merge = Merging(width)
        self.stage2 = nn.Sequential(WindowBlock(2 * width, 2, 0), WindowBlock(2 * width, 2, 1))
        self.norm = nn.LayerNorm(2 * width)
        self.head = nn.Linear(2 * width, 1)
        seeded(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch_embed(x).permute(0, 2, 3, 1)
        x = self.norm(self.stage2(self.merge(self.stage1(x))))
        return self.head(x.mean((1, 2)))


class ConvNeXtBlock(nn.Module):
    """Depthwise convolution, then norm and two linear layers on the last axis."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv_dw = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.norm = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        y = self.mlp(self.norm(self.conv_dw(x).permute(0, 2, 3, 1)))
        return x + y.permute(0, 3, 1, 2)


class ConvNeXt(nn.Module):
    """A ConvNeXt whose last norm is on (N, H, W, C)."""

    def __init__(self, width: int = 6) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, width, 2, 2)
        self.stage = nn.Sequential(ConvNeXtBlock(width), ConvNeXtBlock(width))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 1)
        seeded(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.stage(self.stem(x)).permute(0, 2, 3, 1)).mean((1, 2)))


class Hybrid(nn.Module):
    """Convolutions, and `torch.nn.TransformerEncoder` on what they give: 1D to 3D, tokens or batch first."""

    def __init__(self, n_axes: int = 1, *, batch_first: bool = True, width: int = 8) -> None:
        super().__init__()
        self.batch_first = batch_first
        self.stem = nn.Sequential(CONVOLUTIONS[n_axes](1, width, 3, stride=2, padding=1), nn.ReLU())
        layer = nn.TransformerEncoderLayer(width, 2, 16, batch_first=batch_first)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(width, 1)
        seeded(self)

    def forward(self, x: Tensor) -> Tensor:
        t = self.stem(x).flatten(2)
        t = self.encoder(t.permute(0, 2, 1) if self.batch_first else t.permute(2, 0, 1))
        return self.head(torch.tanh(t).mean(1 if self.batch_first else 0))


class Slices(nn.Module):
    """A network for slices on each slice of a volume, and a recurrent layer over them (CNN-LSTM)."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.cnn = nn.Sequential(nn.Conv2d(1, width, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(width, width, 3))
        self.lstm = nn.LSTM(width, 5, batch_first=True)
        self.head = nn.Linear(5, 1)
        seeded(self)

    def forward(self, x: Tensor) -> Tensor:
        n, c, s, h, w = x.shape
        y = self.cnn(x.transpose(1, 2).reshape(n * s, c, h, w))
        y, _ = self.lstm(y.mean((2, 3)).view(n, s, -1))
        return self.head(y[:, -1])


class Bag(nn.Module):
    """Multiple-instance learning: (N, S, C, H, W), an attention weight for each instance."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.cnn = nn.Sequential(nn.Conv2d(1, width, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(width, width, 3))
        self.score = nn.Sequential(nn.Linear(width, 3), nn.Tanh(), nn.Linear(3, 1))
        self.head = nn.Linear(width, 1)
        seeded(self)

    def forward(self, x: Tensor) -> Tensor:
        n, s = x.shape[:2]
        y = self.cnn(x.flatten(0, 1)).mean((2, 3)).view(n, s, -1)
        return self.head((self.score(y).softmax(1) * y).sum(1))


def encoder(width: int = 4) -> nn.Sequential:
    """Two convolutions."""
    return nn.Sequential(nn.Conv2d(1, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, width, 3, 2, 1), nn.ReLU())


class TwoViews(nn.Module):
    """Two images (PA and lateral), an encoder each, joined by their pooled features."""

    def __init__(self) -> None:
        super().__init__()
        self.pa, self.lat = encoder(), encoder()
        self.head = nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 1))
        seeded(self, 1)

    def forward(self, pa: Tensor, lat: Tensor) -> Tensor:
        return self.head(torch.cat([self.pa(pa).mean((2, 3)), self.lat(lat).mean((2, 3))], 1))


class TwoScales(nn.Module):
    """One image, seen whole and at a quarter of its size, joined by pooled features."""

    def __init__(self) -> None:
        super().__init__()
        self.fine, self.coarse = encoder(), encoder()
        self.head = nn.Linear(8, 1)
        seeded(self)

    def forward(self, x: Tensor) -> Tensor:
        small = nn.functional.avg_pool2d(x, 4)
        return self.head(torch.cat([self.fine(x).mean((2, 3)), self.coarse(small).mean((2, 3))], 1))


class Regressor(nn.Module):
    """An encoder, pooling, a linear head."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.features, self.head = encoder(), nn.Linear(4, 1)
        seeded(self, seed)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x).mean((2, 3)))


class MeanOfMembers(nn.Module):
    """The mean of networks in a list, as people write it."""

    def __init__(self, n: int = 3) -> None:
        super().__init__()
        self.members = nn.ModuleList(Regressor(seed) for seed in range(n))

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([m(x) for m in self.members]).mean(0)


class DeepSupervision(nn.Module):
    """A small U-Net that gives its output at two sizes, in a list, a tuple or a dict."""

    def __init__(self, kind: Literal["list", "tuple", "dict"] = "list") -> None:
        super().__init__()
        self.kind = kind
        self.down1, self.down2 = nn.Conv2d(1, 4, 3, 2, 1), nn.Conv2d(4, 6, 3, 2, 1)
        self.up = nn.ConvTranspose2d(6, 4, 2, 2)
        self.out, self.aux = nn.Conv2d(8, 2, 1), nn.Conv2d(6, 2, 1)
        seeded(self)

    def forward(self, x: Tensor) -> Any:
        a = torch.relu(self.down1(x))
        b = torch.relu(self.down2(a))
        out = nn.functional.interpolate(self.out(torch.cat([a, torch.relu(self.up(b))], 1)), scale_factor=2)
        aux = self.aux(b)
        return {"list": [out, aux], "tuple": (out, aux), "dict": {"out": out, "aux": aux}}[self.kind]
