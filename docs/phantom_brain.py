"""Pictures of the page on the brain phantom: python docs/phantom_brain.py, into docs/images."""

from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt

from regard.phantoms.brain import REGIONS, SCANNERS, STRUCTURES, Brain, atlas, draw_subject, render_brain

IMAGES = Path(__file__).parent / "images"
PLACE = (-6.0, -12.0, 12.0)
"""Where the planes cross [mm in MNI152 space]."""


def planes(values: np.ndarray, affine: np.ndarray) -> list[np.ndarray]:
    """Axial, coronal and sagittal plane through `PLACE` of (i, j, k)."""
    i, j, k = (round((p - affine[a, 3]) / affine[a, a]) for a, p in enumerate(PLACE))
    return [values[:, :, k].T[::-1], values[:, j, :].T[::-1], values[i, :, :].T[::-1]]


def grey(axes: list[plt.Axes], brain: Brain, title: str) -> None:
    """Three planes of a brain."""
    image = brain.image[0].numpy()
    for axis, plane in zip(axes, planes(image, brain.volume.affine), strict=True):
        axis.imshow(plane, cmap="gray", vmin=0, vmax=1.15 * brain.subject.scanner.white)
        axis.axis("off")
    axes[0].set_title(title, loc="left", fontsize=9)


def ageing() -> None:
    """One subject at 45 and at 79 years, the difference, and at the voxels of a network."""
    subject = draw_subject(0, 1)
    young, old = (render_brain(subject, 1.0, factors=dict.fromkeys(STRUCTURES, age)) for age in (45.0, 79.0))
    figure, axes = plt.subplots(4, 3, figsize=(7.2, 9.4), layout="constrained")
    grey(axes[0], young, "45 years")
    grey(axes[1], old, "79 years")
    change = (old.image - young.image)[0].numpy()
    for axis, plane in zip(axes[2], planes(change, young.volume.affine), strict=True):
        axis.imshow(plane, cmap="RdBu_r", vmin=-0.5, vmax=0.5)
        axis.axis("off")
    axes[2][0].set_title("79 minus 45 years", loc="left", fontsize=9)
    grey(axes[3], render_brain(subject, 4.0, factors=dict.fromkeys(STRUCTURES, 79.0)), "79 years, voxels of 4 mm")
    figure.savefig(IMAGES / "brain-ageing.png", dpi=60)
    plt.close(figure)


def variety() -> None:
    """Three subjects, each on another scanner, and one with the shell of a head."""
    figure, axes = plt.subplots(4, 3, figsize=(7.2, 9.4), layout="constrained")
    for row, scanner, number in zip(axes, SCANNERS, (3, 5, 8), strict=False):
        brain = render_brain(draw_subject(0, number), 1.0, scanner=scanner)
        said = f"{brain.subject.sex}, {brain.subject.age:.0f} years, scanner {scanner.name}"
        grey(row, brain, said)
    grey(axes[3], render_brain(draw_subject(0, 3), 1.0, head="whole"), "with the shell")
    figure.savefig(IMAGES / "brain-variety.png", dpi=60)
    plt.close(figure)


def regions() -> None:
    """The regions on the template."""
    found = atlas()
    labels = found.labels.numpy().astype(float)
    labels[labels >= REGIONS.index("skull and scalp")] = np.nan
    labels[labels == 0] = np.nan
    figure, axes = plt.subplots(1, 3, figsize=(7.2, 2.7), layout="constrained")
    for axis, plane in zip(axes, planes(labels, found.lattice.affine), strict=True):
        axis.imshow(plane, cmap="tab20", interpolation="nearest", vmin=1, vmax=len(REGIONS))
        axis.axis("off")
    figure.savefig(IMAGES / "brain-regions.png", dpi=60)
    plt.close(figure)


if __name__ == "__main__":
    ageing()
    variety()
    regions()
