"""A small vision transformer that must use one planted mark, and which method finds it.

python docs/transformer_patch.py     trains it, prints the table of the page, and draws docs/images/transformer.png
"""

import argparse
import math
from pathlib import Path

import torch
from matplotlib import pyplot as plt
from torch import Tensor, nn
from torch.nn import functional

from regard.explainers import METHODS

IMAGES = Path(__file__).parent / "images"
SIDE, PATCH, GRID = 32, 8, 4
METHODS_SHOWN = {
    "attention-rollout": {},
    "gradient-rollout": {},
    "lrp": {},
    "lrp gamma": {"rule": "gamma"},
    "input-x-gradient": {},
    "integrated-gradients": {"n_steps": 32},
    "expected-gradients": {"n_samples": 100},
    "occlusion": {"window": PATCH, "stride": PATCH},
    "kernel-shap": {"parts": "blocks", "n_parts": GRID**2, "n_samples": 400},
}


class SmallViT(nn.Module):
    """Patches of 8 x 8, a class token, two blocks, one number."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.embed = nn.Conv2d(1, width, PATCH, PATCH)
        self.token = nn.Parameter(torch.zeros(1, 1, width))
        self.position = nn.Parameter(0.02 * torch.randn(1, GRID**2 + 1, width))
        layer = nn.TransformerEncoderLayer(
            width, 4, 2 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.blocks = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 1))

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.embed(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(len(x), -1, -1), tokens], 1) + self.position
        return self.head(self.blocks(tokens)[:, 0])


def marks() -> tuple[Tensor, Tensor]:
    """A disk, whose brightness is the label, and a cross of the same energy, whose brightness means nothing."""
    rows, columns = torch.meshgrid(torch.arange(6) - 2.5, torch.arange(6) - 2.5, indexing="ij")
    disk = (rows**2 + columns**2 < 5).float()
    cross = ((rows.abs() - columns.abs()).abs() < 0.5).float()
    return disk, cross * (disk.sum() / cross.sum()).sqrt()


def draw(n: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Images (n, 1, 32, 32), labels (n,), and the patches (n,) that hold the disk and the cross."""
    x = torch.randn(n, 1, SIDE, SIDE, generator=generator)
    x = 0.6 * functional.avg_pool2d(functional.pad(x, (1, 1, 1, 1), mode="reflect"), 3, 1)
    label, other = (0.5 + 1.5 * torch.rand(n, generator=generator) for _ in range(2))
    places = torch.stack([torch.randperm(GRID**2, generator=generator)[:2] for _ in range(n)])
    inside = torch.randint(0, 3, (n, 2, 2), generator=generator)
    for case in range(n):
        for which, (mark, size) in enumerate(zip(marks(), (label, other), strict=True)):
            i, j = divmod(int(places[case, which]), GRID)
            i, j = i * PATCH + int(inside[case, which, 0]), j * PATCH + int(inside[case, which, 1])
            x[case, 0, i : i + 6, j : j + 6] += size[case] * mark
    return x, label, places[:, 0], places[:, 1]


def train(steps: int) -> SmallViT:
    """A network that has learned the label."""
    torch.manual_seed(0)
    network, generator = SmallViT(), torch.Generator().manual_seed(1)
    optimiser = torch.optim.AdamW(network.parameters(), 2e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, steps)
    x, label, _, _ = draw(8000, generator)
    for _ in range(steps):
        batch = torch.randint(0, len(x), (64,), generator=generator)
        loss = (network(x[batch])[:, 0] - label[batch]).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return network.eval()


def explain(network: SmallViT, name: str, x: Tensor, references: Tensor) -> Tensor:
    """Map (1, 1, 32, 32) of one image."""
    method = METHODS.load(name.split()[0])
    knobs = dict(METHODS_SHOWN[name])
    if name == "expected-gradients":
        return method(network, references=references, **knobs).attribute(x)
    reference = 0.0 if method.takes_reference else None
    return method(network, **knobs).attribute(x, reference=reference)


def wilson(hits: int, n: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson)."""
    z, p = 1.96, hits / n
    middle, half = p + z**2 / (2 * n), z * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    return (middle - half) / (1 + z**2 / n), (middle + half) / (1 + z**2 / n)


def by_brightness(network: SmallViT, x: Tensor, found: Tensor, label: Tensor, disk: Tensor) -> str:
    """How often gradient rollout finds the disk by its brightness, and when it is asked about the negative."""
    middling, bright = (label >= 0.9) & (label <= 1.3), label > 1.3
    method = METHODS.load("gradient-rollout")(network)
    negative = 0
    for case in range(len(x)):
        relevance = method.attribute(x[case : case + 1], target=lambda output: -output[:, 0])
        negative += int(functional.avg_pool2d(relevance.abs(), PATCH).flatten().argmax()) == int(disk[case])
    shares = ", ".join(
        f"{int(found[part].sum())} of {int(part.sum())} {what}"
        for part, what in ((middling, "between 0.9 and 1.3"), (bright, "above"))
    )
    return f"gradient-rollout finds the disk in {shares}; asked about the negative in {negative} of {len(x)}"


def main(steps: int, n: int) -> None:
    """Train, ask every method about n images, print the table, draw one image."""
    network = train(steps)
    x, label, disk, cross = draw(n, torch.Generator().manual_seed(2))
    references = draw(50, torch.Generator().manual_seed(3))[0]
    with torch.no_grad():
        predicted = network(x)[:, 0]
    r2 = 1 - float((predicted - label).square().mean() / label.var(correction=0))
    print(f"R2 {r2:.2f} on {n} images that it has not seen\n")
    print("| method | disk | cross | elsewhere |\n| --- | --- | --- | --- |")
    shown = []
    for name in METHODS_SHOWN:
        top = []
        for case in range(n):
            found = explain(network, name, x[case : case + 1], references)
            top.append(int(functional.avg_pool2d(found.abs(), PATCH).flatten().argmax()))
            if case == 0:
                shown.append((name, found[0, 0]))
        hits, decoys = int((torch.tensor(top) == disk).sum()), int((torch.tensor(top) == cross).sum())
        low, high = wilson(hits, n)
        shares = f"{hits / n:.2f} ({low:.2f} to {high:.2f}) | {decoys / n:.2f} | {1 - (hits + decoys) / n:.2f}"
        print(f"| `{name}` | {shares} |")
        if name == "gradient-rollout":
            misses = by_brightness(network, x, torch.tensor(top) == disk, label, disk)
    print(f"\n{misses}")
    figure, axes = plt.subplots(2, 5, figsize=(12, 5.2), layout="constrained")
    axes = axes.flat
    axes[0].imshow(x[0, 0], cmap="gray")
    axes[0].set_title("image: disk, cross")
    for axis, (name, drawn) in zip(axes[1:], shown, strict=True):
        size = float(drawn.abs().max())
        unsigned = "rollout" in name
        axis.imshow(drawn, cmap="viridis" if unsigned else "RdBu_r", vmin=0 if unsigned else -size, vmax=size)
        axis.set_title(name)
    for axis in figure.axes:
        axis.axis("off")
    figure.savefig(IMAGES / "transformer.png", dpi=60)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--n", type=int, default=100)
    given = parser.parse_args()
    main(given.steps, given.n)
