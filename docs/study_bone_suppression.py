"""Figures and pictures of the study's page.

python docs/study_bone_suppression.py --data DATA [--run RUN]   table of the real dual-energy pairs, as Markdown
python docs/study_bone_suppression.py --run RUN                 the pictures of a finished run, into docs/images
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from regard.datasets.radiograph_images import grey_of, saturated_pair, square
from regard.models import load_model
from regard.studies.bone_suppression.measures import likenesses, suppression

IMAGES = Path(__file__).parent / "images"
CARD = Path(__file__).parents[1] / "tests" / "realdata" / "models" / "bone-suppression"
SHOWN = ("mae", "psnr", "ssim", "ms_ssim", "bone_suppression_ratio", "bone_removed")

Suppress = Callable[[Tensor], Tensor]


def row(name: str, pair: str, found: Tensor, soft: Tensor, image: Tensor) -> str:
    """One line of the table."""
    values = {**likenesses(found, soft), **suppression(found, soft, image)}
    return f"| {pair} | {name} | " + " | ".join(f"{float(values[k][0]):.3g}" for k in SHOWN) + " |"


@torch.no_grad()
def table(data: Path, run: Path | None) -> None:
    """Print the real pairs' table."""
    weights = data / "weights" / "cxr_bone_suppression_kalisz_ae_xkev1n.safetensors"
    published = load_model(CARD, weights=weights, trust=True).network
    print("| pair | suppressor | " + " | ".join(k.replace("_", " ") for k in SHOWN) + " |")
    print("| --- " * (len(SHOWN) + 2) + "|")
    folder = data / "cxr_bone_suppression"
    for name in sorted(p.name.removesuffix("_cxr.png") for p in folder.glob("*_cxr.png")):
        image, soft = (square(grey_of(folder / f"{name}_{kind}.png"), 512) / 255 for kind in ("cxr", "soft"))
        print(row("the radiograph itself, 512 x 512", name, image, soft, image))
        print(row("Kalisz autoencoder, 512 x 512", name, published(image) / 255, soft, image))
        if run is None:
            continue
        image, soft = (square(grey_of(folder / f"{name}_{kind}.png"), 256) / 255 for kind in ("cxr", "soft"))
        image, soft = saturated_pair(image, soft)
        print(row("the radiograph itself, 256 x 256, saturated", name, image, soft, image))
        for card in sorted((run / "models").glob("*/card.yaml")):
            network = load_model(card.parent).network
            print(row(f"{card.parent.name}, trained on phantoms", name, network(image), soft, image))


def pictures(run: Path) -> None:
    """A run's pictures of phantoms, in fewer colours."""
    for name in ("side-by-side", "removed", "maps"):
        with Image.open(run / "figures" / f"{name}.png") as image:
            image.convert("RGB").quantize(96).save(IMAGES / f"bone-suppression-{name}.png", optimize=True)


def main() -> None:
    """Print or draw."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--data", type=Path)
    arguments.add_argument("--run", type=Path)
    asked = arguments.parse_args()
    if asked.data is not None:
        table(asked.data, asked.run)
    elif asked.run is not None:
        pictures(asked.run)


if __name__ == "__main__":
    main()
