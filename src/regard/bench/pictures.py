"""A picture of what the networks are shown: some test subjects of each phantom, and where the signal lies."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from regard.bench.plan import BenchPlan
from regard.io.atomic import atomic

__all__ = ["draw_images"]

_SHOWN = 4
_TEXT, _LINE = "#1b2330", "#e0662a"


def _plane(image: Tensor, structure: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """An image of two axes as it is; of three the plane, along the last axis, that holds most of the structure."""
    if image.ndim == 2:
        return image.numpy(), structure.numpy()
    at = int(structure.sum((0, 1)).argmax())
    return image[..., at].numpy().T[::-1], structure[..., at].numpy().T[::-1]


def draw_images(plan: BenchPlan, path: Path) -> None:
    """Write the picture: a row for each phantom; orange: the outline of what the label is written in.

    Parameters
    ----------
    plan
        What is compared.
    path
        The PNG.
    """
    n = len(plan.phantoms)
    figure = Figure(figsize=(2.1 * _SHOWN + 1.4, 2.1 * n + 0.4), facecolor="white", layout="constrained")
    axes = figure.subplots(n, _SHOWN, squeeze=False)
    for row, name in zip(axes, plan.phantoms, strict=True):
        made = plan.phantom(name)
        for number, one in enumerate(row):
            subject = made.subject(number, seed=plan.test_seed)
            image, structure = _plane(subject.image[0], subject.structure)
            low, high = np.quantile(image, [0.005, 0.995])
            one.imshow(image, cmap="gray", vmin=low, vmax=high, interpolation="nearest")
            if structure.max() > 0:
                one.contour(structure, levels=[0.5 * structure.max()], colors=_LINE, linewidths=1)
            one.set_title(f"{subject.label:.2f} {made.unit}", fontsize=7, color=_TEXT)
            one.set_axis_off()
        row[0].text(-0.08, 0.5, name, transform=row[0].transAxes, rotation=90, ha="right", va="center", fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic(path) as temporary:
        figure.savefig(temporary, format="png", dpi=130)
