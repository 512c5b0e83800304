"""A perceptual loss without weights from elsewhere: distances of features of a VGG-16 trained on one's own images.

The published denoisers and samplers take a VGG of ImageNet. What its features are worth on CT is not known either;
those here know only what they were trained for, and say so by `fit_features`.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from regard.core import randomness
from regard.models.zoo.vgg import VGG16
from regard.training.resumable import Epochs, fit_resumable, seeded
from regard.training.supervised import Supervised

__all__ = ["LAYERS", "fit_features", "perceptual_distance"]

LAYERS = (3, 8, 15, 22)
"""Layers of VGG-16 whose outputs are compared: the last ReLU of each of its first four blocks."""

_EPOCH = 25


def fit_features(
    images: Tensor,
    labels: Tensor,
    *,
    width: int = 16,
    patch: int = 32,
    n_steps: int = 200,
    batch_size: int = 16,
    learning_rate: float = 5e-4,
    seed: int = 0,
    folder: Path | None = None,
    device: str = "cpu",
) -> VGG16:
    """Train a VGG-16 to tell classes of patches apart.

    Parameters
    ----------
    images
        Standardised (case, 1, row, column).
    labels
        Class of each image (case,), from 0.
    width
        Channels of the first block; 64 as published.
    patch, n_steps, batch_size, learning_rate
        As usual.
    seed
        Of patches and weights.
    folder
        Where a checkpoint is kept; None: none.
    device
        Where it is trained.
    """
    n_epochs = max(1, round(n_steps / _EPOCH))
    n = -(-n_steps // n_epochs) * batch_size

    def batch(numbers: list[int], epoch: int) -> tuple[Tensor, Tensor]:
        found, which = [], []
        for k in numbers:
            u = randomness.uniform((3,), seed, "feature patch", epoch * n + k).tolist()
            case = int(u[0] * len(images))
            row, column = (int(v * (s - patch + 1)) for v, s in zip(u[1:], images.shape[2:], strict=True))
            found.append(images[case, :, row : row + patch, column : column + patch])
            which.append(case)
        return torch.stack(found), labels[which]

    with seeded(seed, "features"):
        network = VGG16(1, int(labels.max()) + 1, width, dropout=0.0)
        for layer in network.features:
            if isinstance(layer, nn.Conv2d):
                # Thirteen layers without norms do not learn from torch's own start.
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    fit_resumable(
        Supervised(network, functional.cross_entropy, learning_rate=learning_rate),
        Epochs(batch, n),
        n_epochs=n_epochs,
        batch_size=batch_size,
        seed=seed,
        folder=folder,
        device=device,
    )
    return network.requires_grad_(False)


def perceptual_distance(
    features: VGG16, found: Tensor, wanted: Tensor, *, layers: Sequence[int] = LAYERS, power: int = 1
) -> Tensor:
    """Mean absolute difference of the features of each layer (``power`` 2: mean square), summed over layers.

    Parameters
    ----------
    features
        As `fit_features` makes them.
    found, wanted
        Standardised (batch, 1, row, column).
    """
    total = found.new_zeros(())
    a, b = found, wanted
    for number, layer in enumerate(features.features):
        a, b = layer(a), layer(b)
        if number in layers:
            total = total + (a - b).abs().pow(power).mean()
        if number >= max(layers):
            break
    return total
