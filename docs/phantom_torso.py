"""Pictures and figures of the page on the torso phantom.

python docs/phantom_torso.py                       the pictures, into docs/images
python docs/phantom_torso.py --ct CT --masks MASKS  the table of HU beside a CT with TotalSegmentator's masks
python docs/phantom_torso.py --labels 300           the histogram of labels, as text
"""

import argparse
from pathlib import Path

import nibabel
import numpy as np
import torch
from matplotlib import pyplot as plt
from scipy import ndimage

from regard.phantoms.torso import (
    STRUCTURES,
    Scanner,
    draw_shape,
    label_weights,
    measure_l1,
    render_torso,
    scan,
)
from regard.phantoms.torso.population import PAPER_COUNTS, PAPER_EDGES

IMAGES = Path(__file__).parent / "images"
TISSUES = {
    "liver": 5, "spleen": 1, "kidney_left": 3, "aorta": 52, "ivc": 63, "psoas": 89, "paraspinal": 86, "l1_body": 31,
    "lung_right": 14,
}  # fmt: skip
"""Structure of the phantom to the number of TotalSegmentator's mask."""


def slices() -> None:
    """Slices through L1 of six torsos, and one with its truth."""
    figure, axes = plt.subplots(2, 3, figsize=(13.5, 7.4), layout="tight")
    for case, axis in enumerate(axes.flat):
        shape = draw_shape(0, case)
        torso = render_torso(shape, (1.0, 1.0, 3.0), ((-190.0, 190.0), (-145.0, 150.0), (-1.5, 1.5)))
        image = scan(torso, Scanner(noise_hu=10, kernel_mm=1.3), case=case).tensor[0, ..., 0]
        axis.imshow(image.T, cmap="gray", vmin=-160, vmax=300)
        label = measure_l1(shape).areal_bmd
        axis.set_title(f"{shape.sex}, {shape.age:.0f} years, {label:.2f} g/cm2", fontsize=10)
        axis.axis("off")
    figure.savefig(IMAGES / "torso-l1.png", dpi=60)
    torso = render_torso(draw_shape(0, 4), (0.7, 0.7, 3.0), ((-64.0, 64.0), (-90.0, 50.0), (2.5, 5.5)))
    area = measure_l1(torso.shape).area
    weights = label_weights(torso, area=area).tensor[0, ..., 0]
    figure, axes = plt.subplots(1, 3, figsize=(12, 4.4), layout="constrained")
    axes[0].imshow(scan(torso, Scanner(noise_hu=10)).tensor[0, ..., 0].T, cmap="gray", vmin=-160, vmax=700)
    axes[1].imshow(torso.mineral.tensor[0, ..., 0].T, cmap="magma", vmin=0, vmax=1)
    axes[2].imshow(weights.T, cmap="viridis")
    for axis, title in zip(axes, ("image", "bone mineral", "weight of the label"), strict=True):
        axis.set_title(title)
        axis.axis("off")
    figure.savefig(IMAGES / "torso-truth.png", dpi=70)


def frontal() -> None:
    """Line integrals of two chests, seen from the front, and a sagittal and a coronal cut."""
    figure, axes = plt.subplots(1, 4, figsize=(15, 4.6), layout="tight")
    for case, axis in zip((1, 4), axes[:2], strict=True):
        torso = render_torso(draw_shape(0, case), (1.5, 2.0, 1.5), "chest", fine=1)
        hu = torch.where(torso.mask("table"), -1000.0, torso.hu.tensor[0])
        depth = ((hu + 1000).clamp(min=0) / 1000).sum(1) * 0.2 * 0.2
        axis.imshow(depth.T.flip(0), cmap="gray", vmin=float(depth.quantile(0.3)), vmax=float(depth.quantile(0.99)))
        axis.set_title("seen from the front", fontsize=10)
    middle = torso.hu.grid.to_index((0.0, 0.0, 0.0))
    sagittal, coronal = hu[round(middle[0])], hu[:, round(middle[1]) + 12]
    axes[2].imshow(sagittal.T.flip(0), cmap="gray", vmin=-250, vmax=450, aspect=1.5 / 2)
    axes[3].imshow(coronal.T.flip(0), cmap="gray", vmin=-1000, vmax=450)
    for axis, title in zip(axes[2:], ("sagittal", "coronal"), strict=True):
        axis.set_title(title, fontsize=10)
    for axis in axes:
        axis.axis("off")
    figure.savefig(IMAGES / "torso-chest.png", dpi=70)


def described(values: np.ndarray) -> str:
    """Median and middle nine tenths."""
    low, middle, high = np.percentile(values, (5, 50, 95))
    return f"{middle:.0f} ({low:.0f} to {high:.0f})"


def table(ct: Path, masks: Path) -> None:
    """HU of each tissue, eroded by one voxel, in a CT and in six torsos at its voxel size."""
    image, numbers = nibabel.load(ct), np.asarray(nibabel.load(masks).dataobj).astype(int)
    real, spacing = np.asarray(image.dataobj, dtype=float), tuple(np.abs(np.diag(image.affine))[:3])
    found: dict[str, list[np.ndarray]] = {name: [] for name in TISSUES}
    for case in range(6):
        box = ((-180.0, 180.0), (-130.0, 140.0), (-45.0, 110.0))
        torso = render_torso(draw_shape(0, case), spacing, box, fine=1)
        hu = scan(torso, Scanner(noise_hu=30, kernel_mm=1.3), case=case).tensor[0].numpy()
        for name in TISSUES:
            parts = ("l1_cortical", "l1_trabecular", "l1_posterior") if name == "l1_body" else (name,)
            mask = np.isin(torso.labels.tensor[0].numpy(), [STRUCTURES[p] for p in parts])
            found[name].append(hu[ndimage.binary_erosion(mask)])
    print("| tissue | this CT | six torsos |\n| --- | --- | --- |")
    for name, number in TISSUES.items():
        inside = ndimage.binary_erosion(numbers == number)
        title = name.replace("_", " ").replace("l1 body", "L1, whole")
        print(f"| {title} | {described(real[inside])} | {described(np.concatenate(found[name]))} |")


def labels(n: int) -> None:
    """Histogram of the labels of a cohort beside the published one."""
    drawn = [measure_l1(draw_shape(0, case)).areal_bmd for case in range(n)]
    counts, _ = np.histogram(drawn, PAPER_EDGES)
    print("| bin [g/cm2] | drawn | published, scaled |\n| --- | --- | --- |")
    for low, count, paper in zip(PAPER_EDGES, counts, PAPER_COUNTS, strict=False):
        print(f"| {low:.1f} to {low + 0.1:.1f} | {count} | {n * paper / sum(PAPER_COUNTS):.1f} |")
    print(f"\nmean {np.mean(drawn):.3f}, standard deviation {np.std(drawn):.3f} g/cm2")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ct", type=Path)
    parser.add_argument("--masks", type=Path)
    parser.add_argument("--labels", type=int)
    options = parser.parse_args()
    if options.ct:
        table(options.ct, options.masks)
    elif options.labels:
        labels(options.labels)
    else:
        slices()
        frontal()
