"""Draw the pictures of docs/how-to/noise-maps.md: python docs/images/noise_maps.py [MODEL SCAN] (of `regard demo`)."""

import sys
from pathlib import Path

import matplotlib
import torch

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.colors import LogNorm

import regard
from regard.explainers.learned.extent import extent_curve
from regard.explainers.learned.noise_map import NoiseMap
from regard.models.case import prepare_case
from regard.phantoms.oracles import LinearOracle
from regard.report.extent import draw_extent_curve

HERE = Path(__file__).parent
SIZE = 24


def pair() -> tuple[LinearOracle, torch.Tensor, torch.Tensor]:
    """A wide region of averaged evidence and a small one: raising either by 1 raises the output by 1."""
    weights = torch.zeros(1, SIZE, SIZE, dtype=torch.float64)
    wide, small = torch.zeros(SIZE, SIZE, dtype=torch.bool), torch.zeros(SIZE, SIZE, dtype=torch.bool)
    wide[3:21, 2:14] = True
    small[10:13, 18:21] = True
    weights[0, wide] = 1 / wide.sum()
    weights[0, small] = 1 / small.sum()
    return LinearOracle(weights), wide, small


def draw_pair(path: Path) -> None:
    network, wide, small = pair()
    x = torch.randn(1, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    knobs = {"strength": 0.01, "spread": 1.0, "unit": "input", "foreground": "all", "n_steps": 300}
    white = NoiseMap(network, **knobs).attribute(x)[0, 0]
    correlated = NoiseMap(network, family="correlated", scales=(1.0, 2.0, 4.0), **knobs).attribute(x)[0, 0]
    figure, axes = plt.subplots(1, 4, figsize=(12, 3.5), layout="constrained")
    regions = wide.float() + 2 * small.float()
    axes[0].imshow(regions, cmap="Greys", vmin=0, vmax=3)
    axes[0].set_title("two means of equal effect:\nover 216 places and over 9", fontsize=9)
    for axis, importance, name in ((axes[1], white, "white noise"), (axes[2], correlated, "correlated noise")):
        noise = 1 - importance
        shown = axis.imshow(noise, cmap="viridis", norm=LogNorm(0.003, 1))
        inside = ", ".join(f"{noise[r].mean():.3f} in the {n}" for r, n in ((wide, "wide"), (small, "small")))
        axis.set_title(f"B, {name}:\n{inside}", fontsize=9)
    figure.colorbar(shown, ax=axes[2], label="noise that is borne, B", shrink=0.8)
    shown = axes[3].imshow(white, cmap="magma", vmin=0, vmax=1)
    axes[3].set_title("importance 1 - B, white noise", fontsize=9)
    figure.colorbar(shown, ax=axes[3], shrink=0.8)
    for axis in axes:
        axis.set_xticks([])
        axis.set_yticks([])
    figure.savefig(path, dpi=110, metadata={"Software": None})
    for region, name in ((wide, "wide"), (small, "small")):
        print(name, "white", float((1 - white)[region].mean()), "correlated", float((1 - correlated)[region].mean()))


def draw_extent(path: Path, source: str, scan: str) -> None:
    model = regard.load_model(source)
    case = prepare_case(model, {model.card.inputs[0].name: regard.read(scan)})
    rows = extent_curve(case.network, case.inputs.tensors[0], knobs={"spread": 58.0, "cell": 3})
    draw_extent_curve(rows, path, unit=model.card.unit)
    for row in rows:
        print(row)


if __name__ == "__main__":
    draw_pair(HERE / "noise-pair.png")
    if len(sys.argv) > 2:
        draw_extent(HERE / "noise-extent.png", sys.argv[1], sys.argv[2])
