"""A conditional variational autoencoder: an image as a latent, and back, given the output of the network under study.

The small variant of Eulig et al. 2025. As there: the encoder sees x and y, part of the latent starts the decoder and a
part modulates each block, y is shown (nearest neighbour) before every block and before the last convolution, the last
norm is ActNorm. Reduced: encoder a ResNet of MONAI from scratch instead of ResNet-50 of ImageNet; no class embedding,
self-attention, spectral norm or critic. A perceptual loss can be given; ImageNet's weights are not here.
"""

from collections.abc import Callable, Sequence

import torch
from monai.networks.nets import ResNet
from torch import Tensor, nn
from torch.nn import functional

from regard.core.errors import ShapeError
from regard.explainers.generative.conditional_inn import ActNorm

__all__ = ["ConditionalVAE", "vae_loss"]


class _Block(nn.Module):
    """Twice as large: two convolutions whose norms are scaled and shifted by a code."""

    def __init__(self, before: int, after: int, shown: int, n_code: int) -> None:
        super().__init__()
        inside = before + shown
        self.norms = nn.ModuleList([nn.BatchNorm2d(inside, affine=False), nn.BatchNorm2d(after, affine=False)])
        self.codes = nn.ModuleList([nn.Linear(n_code, 2 * inside), nn.Linear(n_code, 2 * after)])
        self.convolutions = nn.ModuleList([nn.Conv2d(inside, after, 3, 1, 1), nn.Conv2d(after, after, 3, 1, 1)])
        self.shortcut = nn.Conv2d(inside, after, 1)

    def _modulated(self, x: Tensor, n: int, code: Tensor) -> Tensor:
        scale, shift = self.codes[n](code)[:, :, None, None].chunk(2, 1)
        return torch.relu(self.norms[n](x) * (1 + scale) + shift)

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        big = functional.interpolate(self._modulated(x, 0, code), scale_factor=2)
        big = self.convolutions[1](self._modulated(self.convolutions[0](big), 1, code))
        return big + self.shortcut(functional.interpolate(x, scale_factor=2))  # type: ignore[no-any-return]


class ConditionalVAE(nn.Module):
    """Image and output to a Gaussian over latents, and a latent and the output to an image.

    Parameters
    ----------
    size
        Side of the square images: 4 times 2 to the number of widths.
    n_latent
        Numbers of a latent.
    widths
        Channels of the decoder's blocks.
    n_code
        Numbers of the latent that modulate each block; the rest starts the decoder.
    channels
        Channels of the image.
    shown
        Channels of the output.
    encoder_width
        Channels of the encoder's first block; they double three times.
    """

    def __init__(
        self,
        size: int = 64,
        n_latent: int = 64,
        widths: Sequence[int] = (96, 64, 48, 32),
        n_code: int = 8,
        channels: int = 1,
        shown: int = 1,
        encoder_width: int = 24,
    ) -> None:
        super().__init__()
        if size != 4 * 2 ** len(widths) or n_latent <= n_code * len(widths):
            got = f"images of {size} pixels and {n_latent} latents for {len(widths)} blocks with {n_code} each"
            raise ShapeError(got, "a size of 4 times 2 to the number of blocks, and latents left to start with")
        self.n_latent, self.n_code = n_latent, n_code
        self.encoder = ResNet(
            "basic",
            [1, 1, 1, 1],
            [encoder_width * 2**n for n in range(4)],
            spatial_dims=2,
            n_input_channels=channels + shown,
            conv1_t_size=5,
            num_classes=2 * n_latent,
        )
        starting = n_latent - n_code * len(widths)
        self.start = nn.Linear(starting, widths[0] * 16)
        self.blocks = nn.ModuleList(
            _Block(a, b, shown, n_code) for a, b in zip((widths[0], *widths), widths, strict=False)
        )
        self.norm = ActNorm(widths[-1] + shown)
        self.last = nn.Conv2d(widths[-1] + shown, channels, 3, 1, 1)

    def encode(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance (batch, latent) of an image given the output."""
        mean, log_variance = self.encoder(torch.cat([x, y], 1)).chunk(2, 1)
        return mean, log_variance.clamp(-30, 10)

    def decode(self, z: Tensor, y: Tensor) -> Tensor:
        """Image (batch, channels, size, size) of a latent given the output (batch, shown, size, size)."""
        start, *codes = z.split([z.shape[1] - self.n_code * len(self.blocks)] + [self.n_code] * len(self.blocks), 1)
        x = self.start(start).reshape(len(z), -1, 4, 4)
        for block, code in zip(self.blocks, codes, strict=True):
            x = block(torch.cat([x, functional.interpolate(y, size=x.shape[2:])], 1), code)
        x, _ = self.norm(torch.cat([x, y], 1))
        return self.last(x)  # type: ignore[no-any-return]


def vae_loss(
    vae: ConditionalVAE,
    x: Tensor,
    y: Tensor,
    noise: Tensor,
    *,
    weight_kl: float,
    perceptual: Callable[[Tensor, Tensor], Tensor] | None = None,
) -> Tensor:
    """Absolute error summed over pixels, plus the divergence summed over latents, mean over the batch.

    Parameters
    ----------
    vae
        The network.
    x, y
        Images and outputs.
    noise
        Standard normal numbers (batch, latent) of the draw.
    weight_kl
        Weight of the divergence. Published: 0.57504 to an absolute error weighted 0.0011852.
    perceptual
        Adds a weighted distance of what was made and the images (batch, channels, size, size); None: none.
    """
    mean, log_variance = vae.encode(x, y)
    found = vae.decode(mean + noise * (0.5 * log_variance).exp(), y)
    error = (found - x).abs().flatten(1).sum(1)
    divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1)
    total = (error + weight_kl * divergence).mean()
    return total if perceptual is None else total + perceptual(found, x)
