"""The networks of XAI-TRIS, trained: logistic regression, fully connected layers, convolutions.

Layers and widths as published by Clark, Wilming and Haufe (Machine Learning 2024, arXiv 2306.12816); all end in two
logits, where the paper's end in their softmax.
"""

import itertools
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from regard.core.randomness import generator
from regard.phantoms.tetromino import TetrominoSet

__all__ = ["ARCHITECTURES", "accuracy", "margin", "train"]


def _logistic(side: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(side**2, 2, bias=False))


def _connected(side: int) -> nn.Module:
    n = side**2
    widths = [n, n // 2, n // 4, n // 8] if side == 8 else [n, 256, 256, 64]
    layers: list[nn.Module] = [nn.Flatten()]
    for before, after in itertools.pairwise(widths):
        layers += [nn.Linear(before, after, bias=side == 8), nn.ReLU()]
        layers += [nn.Dropout(0.3)] if side > 8 else []
    return nn.Sequential(*layers, nn.Linear(widths[-1], 2, bias=side == 8))


def _convolutional(side: int) -> nn.Module:
    widths, kernel = ([1, 4, 4, 4, 4], 2) if side == 8 else ([1, 4, 8, 16, 32], 4)
    layers: list[nn.Module] = []
    left = side
    for before, after in itertools.pairwise(widths):
        layers += [nn.Conv2d(before, after, kernel, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
        left = (left + 3 - kernel) // 2
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(widths[-1] * left**2, 2, bias=side == 8))


ARCHITECTURES: Mapping[str, Callable[[int], nn.Module]] = {
    "logistic": _logistic,
    "connected": _connected,
    "convolutional": _convolutional,
}
"""Side of the images [pixel] to an untrained network, by name."""


@torch.no_grad()
def accuracy(network: nn.Module, data: TetrominoSet) -> float:
    """Share of the images whose class is told."""
    return float((network(data.images).argmax(1) == data.labels).float().mean())


def train(
    architecture: str, learn: TetrominoSet, choose: TetrominoSet, *, seed: int, n_epochs: int = 100, device: str = "cpu"
) -> nn.Module:
    """Train with Adam, and keep the weights with the smallest loss on the images that choose.

    Parameters
    ----------
    architecture
        One of `ARCHITECTURES`.
    learn, choose
        Images to learn from, and to choose by.
    seed
        Of the weights and the order.
    n_epochs
        At most; a fifth of them without a smaller loss ends the training.
    device
        Where.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(generator(seed, architecture, "network").initial_seed() % 2**31)
        network = ARCHITECTURES[architecture](learn.images.shape[-1]).to(device)
        optimiser = torch.optim.Adam(network.parameters(), lr=2e-3)
        best, kept, since = float("inf"), network.state_dict(), 0
        data = [t.to(device) for t in (learn.images, learn.labels, choose.images, choose.labels)]
        for _ in range(n_epochs):
            network.train()
            for rows in torch.randperm(len(data[0])).to(device).split(128):
                loss = functional.cross_entropy(network(data[0][rows]), data[1][rows])
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
            network.eval()
            with torch.no_grad():
                told = float(functional.cross_entropy(network(data[2]), data[3]))
            since += 1
            if told < best:
                best, since = told, 0
                kept = {k: v.detach().clone() for k, v in network.state_dict().items()}
            if since > n_epochs // 5:
                break
    network.load_state_dict(kept)
    return network.to("cpu").eval().requires_grad_(False)


def margin(output: Tensor) -> Tensor:
    """What is explained: the log-odds of class 1, (image,)."""
    return output[:, 1] - output[:, 0]
