"""How much of an image a network sees, and how much of what it sees is image: told, and refused beyond a bound."""

import math

import numpy as np
import torch
from torch import Tensor

from regard.core.errors import GeometryError
from regard.core.geometry import AxisResampling
from regard.core.spatial import row_sums
from regard.core.volume import Volume
from regard.models.card import InputSpec
from regard.models.network_grid import oriented_grid

__all__ = ["LEAST_IMAGE", "check_view", "share_of_image", "view_warnings"]

LEAST_IMAGE = 0.02
"""Share of the network's view that must be image; below it the answer is one about padding, and the case is refused."""

_TOLD = 0.005
_STRETCHED = 8
_NO_AIR_HU = -200


def share_of_image(resampling: AxisResampling) -> Tensor:
    """How much of each voxel (i, j, k) that the network sees lies on the scan: 1 or 0, float64."""
    share = torch.ones(1, dtype=torch.float64)
    for matrix in resampling.matrices():
        share = share[..., None] * row_sums(matrix)
    return share[0]


def check_view(volume: Volume, spec: InputSpec, resampling: AxisResampling) -> None:
    """Refuse an image that is next to nothing in the network's view, or one slice where the network looks at many.

    Raises
    ------
    GeometryError
        If one slice would be copied along an axis, or padding makes up all but `LEAST_IMAGE` of the view.
    """
    oriented, grid = oriented_grid(volume.grid, spec), resampling.destination
    for axis in range(spec.n_axes):
        if oriented.shape[axis] == 1 and grid.shape[axis] > 1:
            letter = grid.orientation[axis]
            raise GeometryError(
                f"an image of one voxel along {letter}, for a network that looks at {grid.shape[axis]} there",
                "a whole volume",
                "give all slices of the series (the folder, not one file of it), or a network for single slices",
            )
    share = float(share_of_image(resampling).mean())
    if share < LEAST_IMAGE:
        raise GeometryError(
            f"an image of {_product(oriented.shape[: spec.n_axes])} voxels that fills {100 * share:.2g} % of the "
            f"network's view of {_product(grid.shape[: spec.n_axes])}; the rest would be padding",
            f"at least {100 * LEAST_IMAGE:.0f} %",
            "give the whole image, and check its spacing",
        )


def view_warnings(volume: Volume, spec: InputSpec, resampling: AxisResampling, x: Tensor) -> list[str]:
    """Sentences on what of the image the network does not see, and on what it sees that is no image.

    Parameters
    ----------
    volume
        The scan.
    spec
        What the network wants.
    resampling
        From the scan's grid to the network's.
    x
        The network's input (channel, i, j, k).
    """
    grid, sentences = resampling.destination, []
    what = "image" if volume.signal is None else "recording"
    oriented = oriented_grid(volume.grid, spec)
    steps = np.linalg.norm(grid.affine[:3, :3], axis=0) / oriented.spacing
    kept = math.prod(min(1.0, n * s / m) for n, s, m in zip(grid.shape, steps, oriented.shape, strict=True))
    if spec.fit == "crop-pad" and kept < 1 - _TOLD:
        sentences.append(f"the network sees {100 * kept:.0f} % of the {what}; the rest is cropped")
    share = share_of_image(resampling)
    padding = 1 - float(share.mean())
    if padding > _TOLD:
        sentences.append(f"{100 * padding:.0f} % of the network's view is padding, off the {what}")
    if volume.signal is not None and spec.rate_hz is not None and volume.signal.rate_hz < 0.99 * spec.rate_hz:
        sentences.append(
            f"recorded at {volume.signal.rate_hz:g} Hz and brought to the network's {spec.rate_hz:g} Hz: nothing "
            f"above {volume.signal.rate_hz / 2:g} Hz is in it"
        )
    if spec.fit == "resize" and spec.shape is not None and spec.spacing_mm is not None and volume.has_geometry:
        got = grid.spacing[: spec.n_axes]
        if any(abs(g / w - 1) > 0.1 for g, w in zip(got, spec.spacing_mm, strict=True)):
            sentences.append(
                f"resized to {_product(spec.shape)} voxels the spacing is {_product(got)} mm; "
                f"the network works at {_product(spec.spacing_mm)} mm"
            )
    if spec.spacing_mm is not None and volume.stored.at_detector and not volume.has_geometry:
        sentences.append(
            "the size of a pixel is that at the detector (ImagerPixelSpacing); in the patient it is smaller, by the "
            "magnification"
        )
    for axis in range(spec.n_axes):
        if volume.signal is None and steps[axis] * _STRETCHED <= 1:
            n = oriented.shape[axis]
            sentences.append(
                f"along {grid.orientation[axis]} each of {n} voxels becomes {1 / steps[axis]:.0f} of the network's"
            )
    if spec.unit.strip().upper() == "HU" and volume.unit in ("HU", "intensity"):
        lowest = float(volume.tensor.min())
        if lowest > _NO_AIR_HU:
            sentences.append(
                f"no voxel is below {_NO_AIR_HU} HU (the lowest is {lowest:g}), though air is at -1000 HU: "
                "is the image a CT in HU?"
            )
    seen = x[:, share > 0.5]
    if seen.numel() and bool((seen == seen[:, :1]).all()):
        sentences.append(f"the {what} has one value everywhere in the network's view: the map is one of nothing")
    return sentences


def _product(values: tuple[float, ...] | tuple[int, ...]) -> str:
    return " x ".join(f"{v:.3g}" for v in values)
