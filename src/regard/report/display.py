"""Volume to display planes: the one place where a voxel axis becomes a direction on the screen.

An oriented volume is permuted and flipped to "LPI" (axes run to the patient's left, back and feet), so that each
plane is a plain slice in radiological convention: the patient's left lies at the picture's right, anterior and
superior at its top. A picture without geometry stays as on screen, row down and column right. Nothing is resampled:
an oblique volume is shown along its own nearest axes.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from nibabel import affines, orientations

from regard.core.explanation import Explanation
from regard.core.volume import Volume

__all__ = ["Plane", "display_volume", "extreme", "grey", "obliquity", "planes", "shrink", "slice_of", "window"]

SOFT_TISSUE = (-160.0, 240.0)
"""Window of a CT image of soft tissue [HU]."""


@dataclass(frozen=True)
class Plane:
    """Which display axis runs along the columns, the rows and through the picture.

    Parameters
    ----------
    name
        Anatomical name.
    columns, rows, through
        Axes of the display volume; columns run to the right, rows downwards.
    letters
        Letters at the left, right, top and bottom edge; None where directions are unknown.
    """

    name: str
    columns: int
    rows: int
    through: int
    letters: tuple[str, str, str, str] | None = None


_ANATOMY = (
    Plane("axial", 0, 1, 2, ("R", "L", "A", "P")),
    Plane("coronal", 0, 2, 1, ("R", "L", "S", "I")),
    Plane("sagittal", 1, 2, 0, ("A", "P", "S", "I")),
)
_PICTURE = tuple(
    replace(p, name=name, letters=None) for p, name in zip(_ANATOMY, ("picture", "side", "end"), strict=True)
)


def display_volume(volume: Volume) -> Volume:
    """The same voxels with axes that run left, posterior and inferior; a picture without geometry as it is."""
    if not volume.has_geometry:
        return volume
    turn = orientations.ornt_transform(orientations.io_orientation(volume.affine), orientations.axcodes2ornt("LPI"))
    order = [int(np.flatnonzero(turn[:, 0] == axis)[0]) for axis in range(3)]
    tensor = volume.tensor.permute(0, *[1 + axis for axis in order])
    tensor = tensor.flip([1 + place for place, axis in enumerate(order) if turn[axis, 1] < 0])
    return replace(volume, tensor=tensor, affine=volume.affine @ orientations.inv_ornt_aff(turn, volume.shape))


def planes(display: Volume) -> tuple[Plane, ...]:
    """The planes worth showing of a display volume: three, or one where it is a slice thick."""
    known = _ANATOMY if display.has_geometry else _PICTURE
    flat = [p for p in known if display.shape[p.through] == 1]
    if not flat:
        return known
    return (max(flat, key=lambda p: (display.shape[p.columns] > 1) + (display.shape[p.rows] > 1)),)


def slice_of(array: np.ndarray, plane: Plane, index: int) -> np.ndarray:
    """One slice (row, column) of a display array (i, j, k)."""
    return np.take(array, index, axis=plane.through).T


def grey(volume: Volume) -> np.ndarray:
    """One intensity per voxel (i, j, k): the mean of a colour picture's channels, else the first channel."""
    tensor = volume.tensor.detach().float().cpu()
    colour = not volume.has_geometry and volume.n_channels in (3, 4)
    array: np.ndarray = (tensor[:3].mean(0) if colour else tensor[0]).numpy()
    return array


def window(values: np.ndarray, unit: str = "") -> tuple[float, float]:
    """Intensities drawn black and white: the 0.5th and 99.5th percentile of the finite values.

    In HU, the soft-tissue window -160 to 240 where at least a tenth of the voxels lie in it.
    """
    finite = values[np.isfinite(values)]
    if unit == "HU" and finite.size and np.mean((finite > SOFT_TISSUE[0]) & (finite < SOFT_TISSUE[1])) > 0.1:
        return SOFT_TISSUE
    if not finite.size:
        return 0.0, 1.0
    low, high = (float(v) for v in np.percentile(finite, (0.5, 99.5)))
    if high <= low:
        low, high = float(finite.min()), float(finite.max())
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def extreme(explanation: Explanation) -> tuple[int, int, int]:
    """Voxel (i, j, k) of the scan where the map is farthest from zero, among those whose sign is resolved, if any."""
    size = explanation.relevance.tensor[0].abs()
    seen = torch.isfinite(size)
    resolved = explanation.resolved()
    if resolved is not None and bool((seen & resolved).any()):
        seen = seen & resolved
    if not bool(seen.any()):
        return tuple(n // 2 for n in explanation.relevance.shape)  # type: ignore[return-value]
    place = int(torch.where(seen, size, -1.0).argmax())
    return tuple(int(i) for i in np.unravel_index(place, explanation.relevance.shape))  # type: ignore[return-value]


def obliquity(volume: Volume) -> float:
    """Largest angle between a voxel axis and its nearest anatomical direction [degrees]."""
    if not volume.has_geometry:
        return 0.0
    return float(np.degrees(affines.obliquity(volume.affine).max()))


def shrink(volume: Volume, factor: int) -> Volume:
    """Mean of blocks of ``factor`` voxels a side; a block is NaN where less than half of it is seen.

    Axes of one voxel stay as they are. For display only.
    """
    if factor <= 1:
        return volume
    steps = [min(factor, n) for n in volume.shape]
    tensor = volume.tensor.detach().cpu()
    pad = [p for n, s in zip(reversed(volume.shape), reversed(steps), strict=True) for p in (0, -n % s)]
    blocks = torch.nn.functional.pad(tensor, pad, value=torch.nan)
    inside = torch.nn.functional.pad(torch.ones_like(tensor), pad)
    parts = [p for n, s in zip(blocks.shape[1:], steps, strict=True) for p in (n // s, s)]
    blocks, inside = (b.reshape(b.shape[0], *parts) for b in (blocks, inside))
    seen, within = torch.isfinite(blocks).sum((2, 4, 6)), inside.sum((2, 4, 6))
    mean = torch.nan_to_num(blocks, nan=0.0, posinf=0.0, neginf=0.0).sum((2, 4, 6)) / seen
    affine = volume.affine.copy()
    affine[:3, 3] += sum((s - 1) / 2 * volume.affine[:3, axis] for axis, s in enumerate(steps))
    affine[:3, :3] = volume.affine[:3, :3] * np.asarray(steps)
    return replace(volume, tensor=torch.where(seen * 2 >= within, mean, torch.nan), affine=affine)
