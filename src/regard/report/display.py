"""Volume to display planes: the one place where a voxel axis becomes a direction on the screen.

An oriented volume is permuted and flipped to "LPI" (axes run to the patient's left, back and feet), so that each
plane is a plain slice in radiological convention: the patient's left lies at the picture's right, anterior and
superior at its top. Within ``convention("neurological")`` it is "RPI", the patient's right at the picture's right, in
every figure and page alike. A picture without geometry stays as on screen, row down and column right. Nothing is
resampled: an oblique volume is shown along its own nearest axes.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Literal
from weakref import WeakKeyDictionary

import numpy as np
import torch
from nibabel import affines, orientations

from regard.core.errors import InputError
from regard.core.explanation import Explanation
from regard.core.foreground import background_level
from regard.core.geometry import Grid, resample
from regard.core.volume import Volume

__all__ = [
    "Convention",
    "Plane",
    "convention",
    "display_volume",
    "extreme",
    "grey",
    "inside",
    "obliquity",
    "peak",
    "placed",
    "planes",
    "shrink",
    "slice_of",
    "window",
]

Convention = Literal["radiological", "neurological"]
_foregrounds: WeakKeyDictionary[Volume, torch.Tensor] = WeakKeyDictionary()
"""A scan lies under many maps, and its voxels are sorted for this."""
_convention: ContextVar[Convention] = ContextVar("regard_convention", default="radiological")

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
_MIRRORED = tuple(
    replace(p, letters=("L", "R", *p.letters[2:])) if p.letters and p.letters[0] == "R" else p for p in _ANATOMY
)
_PICTURE = tuple(
    replace(p, name=name, letters=None) for p, name in zip(_ANATOMY, ("picture", "side", "end"), strict=True)
)


@contextmanager
def convention(name: Convention) -> Iterator[None]:
    """Turn left and right of every picture and page that is made within this context.

    Parameters
    ----------
    name
        ``"radiological"``: the patient's right at the left of axial and coronal pictures; ``"neurological"``: at the
        right.

    Raises
    ------
    InputError
        If there is no such convention.
    """
    if name not in ("radiological", "neurological"):
        raise InputError(f"convention={name!r}", "radiological or neurological", "choose one")
    token = _convention.set(name)
    try:
        yield
    finally:
        _convention.reset(token)


def display_volume(volume: Volume) -> Volume:
    """The same voxels with axes that run left (right where neurological), back and down; a picture as it is."""
    if not volume.has_geometry:
        return volume
    shown = orientations.axcodes2ornt("LPI" if _convention.get() == "radiological" else "RPI")
    turn = orientations.ornt_transform(orientations.io_orientation(volume.affine), shown)
    order = [int(np.flatnonzero(turn[:, 0] == axis)[0]) for axis in range(3)]
    tensor = volume.tensor.permute(0, *[1 + axis for axis in order])
    tensor = tensor.flip([1 + place for place, axis in enumerate(order) if turn[axis, 1] < 0])
    return replace(volume, tensor=tensor, affine=volume.affine @ orientations.inv_ornt_aff(turn, volume.shape))


def planes(display: Volume) -> tuple[Plane, ...]:
    """The planes worth showing of a display volume: three, or one where it is a slice thick."""
    known = _PICTURE
    if display.has_geometry:
        known = _ANATOMY if _convention.get() == "radiological" else _MIRRORED
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


def inside(volume: Volume) -> torch.Tensor:
    """Foreground of an image (i, j, k): where it is not background, by the rule of `regard.core.foreground`."""
    known = _foregrounds.get(volume)
    if known is None:
        values = torch.as_tensor(grey(volume))
        seen = torch.isfinite(values)
        known = seen & (values > background_level(values[seen])) if bool(seen.any()) else seen
        _foregrounds[volume] = known
    return known


def peak(values: torch.Tensor, within: torch.Tensor) -> tuple[int, int, int]:
    """Voxel (i, j, k) where ``values`` are farthest from zero, inside the mask ``within`` where any of it was seen.

    The middle where nothing was seen, and the middle of the mask where all values in it are zero.
    """
    seen = torch.isfinite(values)
    if not bool(seen.any()):
        return tuple(n // 2 for n in values.shape)  # type: ignore[return-value]
    among = seen & within if bool((seen & within).any()) else seen
    sizes = torch.where(among, values.abs(), -1.0)
    if not bool(sizes.max() > 0):
        # Nothing stands out: open in the thick of the image, not at its first voxel.
        places = among.nonzero().double()
        chosen = int((places - places.mean(0)).square().sum(1).argmin())
        return tuple(int(i) for i in places[chosen])  # type: ignore[return-value]
    return tuple(int(i) for i in np.unravel_index(int(sizes.argmax()), sizes.shape))  # type: ignore[return-value]


def extreme(explanation: Explanation) -> tuple[int, int, int]:
    """Voxel (i, j, k) of the scan where pictures of a map open: its `peak` inside the foreground.

    Among the voxels whose sign is resolved, where there are any in it.
    """
    values = explanation.relevance.tensor[0].detach().cpu()
    seen = torch.isfinite(values)
    within = seen & inside(explanation.scan)
    within = within if bool(within.any()) else seen
    resolved = explanation.resolved()
    if resolved is not None and bool((within & resolved.cpu()).any()):
        within = within & resolved.cpu()
    return peak(values, within)


def obliquity(volume: Volume) -> float:
    """Largest angle between a voxel axis and its nearest anatomical direction [degrees]."""
    if not volume.has_geometry:
        return 0.0
    return float(np.degrees(affines.obliquity(volume.affine).max()))


def placed(volume: Volume, grid: Grid) -> Volume:
    """A volume on another grid, linear among the voxels that were seen, NaN where less than half of the weight was.

    A border of NaN so leaves its neighbours as they are. For display only.
    """
    seen = torch.isfinite(volume.tensor)
    weight = resample(volume.with_tensor(seen.double()), grid, order=1).tensor
    values = volume.tensor.double().where(seen, torch.zeros((), dtype=torch.double, device=seen.device))
    spread = resample(volume.with_tensor(values), grid, order=1)
    mean = torch.where(weight >= 0.5 - 1e-9, spread.tensor / weight, torch.nan)
    return spread.with_tensor(mean.to(volume.tensor.dtype))


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
