"""Where a network's input lies: the scan's own axes, reordered, flipped, resized or cropped."""

import math

from regard.core.errors import GeometryError
from regard.core.geometry import reorient_grid
from regard.core.volume import Grid, Volume
from regard.models.card import InputSpec

__all__ = ["network_grid", "oriented_grid"]

_OPPOSITE = {"R": "L", "L": "R", "A": "P", "P": "A", "S": "I", "I": "S"}
_SNAP_VOXELS = 0.1


def oriented_grid(grid: Grid, spec: InputSpec) -> Grid:
    """The scan's voxels with axes in the network's order and direction; axes that it does not have come last.

    Raises
    ------
    GeometryError
        If an axis that the network does not have is more than one voxel thick.
    """
    have = grid.orientation
    letters = spec.orientation or have[: spec.n_axes]
    rest = "".join(c for c in have if c not in letters and _OPPOSITE[c] not in letters)
    oriented = reorient_grid(grid, letters + rest)
    if math.prod(oriented.shape[spec.n_axes :]) > 1:
        size = " x ".join(map(str, oriented.shape))
        axis = next(n for n, c in enumerate(have) if c in rest and grid.shape[n] > 1)
        raise GeometryError(
            f"a volume of {size} voxels along {letters + rest} for a network of {spec.n_axes} axes ({letters})",
            f"one voxel along {' and '.join(rest)}",
            f"cut a slice: --slice {'ijk'[axis]}:{grid.shape[axis] // 2}, or Volume.slice({axis}, ...) in Python",
        )
    return oriented


def network_grid(scan: Volume, spec: InputSpec) -> Grid:
    """Grid of the network's input for a scan: oriented, at the card's spacing and shape.

    Raises
    ------
    GeometryError
        If the scan has more axes than the network, or the card wants mm and the picture has none.
    """
    oriented = oriented_grid(scan.grid, spec)
    needs_mm = spec.steps is not None and not (spec.fit == "resize" and spec.shape is not None)
    if needs_mm and not (scan.has_geometry or scan.stored.spacing_known):
        raise GeometryError(
            "a picture whose file does not say the size of a pixel",
            f"a spacing in mm, as the network works at {' x '.join(f'{s:g}' for s in spec.spacing_mm or ())} mm",
            "give a file that says it: DICOM with PixelSpacing or ImagerPixelSpacing, or NIfTI",
        )
    affine, shape = oriented.affine.copy(), list(oriented.shape)
    for axis in range(spec.n_axes):
        n = oriented.shape[axis]
        wanted_n = spec.shape[axis] if spec.shape is not None else None
        ratio = spec.steps[axis] / oriented.spacing[axis] if needs_mm and spec.steps is not None else 1.0
        fit = _resized if spec.fit == "resize" else _cropped
        shape[axis], ratio, offset = fit(n, ratio, wanted_n)
        step = oriented.affine[:3, axis]
        affine[:3, axis] = step * ratio
        affine[:3, 3] += step * offset
    return Grid(tuple(shape), affine)  # type: ignore[arg-type]


def _resized(n: int, ratio: float, wanted: int | None) -> tuple[int, float, float]:
    """Number of cells, step and first centre along one axis, in scan voxels, that keep the whole field of view."""
    n_out = wanted if wanted is not None else max(1, round(n / ratio))
    ratio = n / n_out
    return n_out, ratio, ratio / 2 - 0.5


def _cropped(n: int, ratio: float, wanted: int | None) -> tuple[int, float, float]:
    """Number of cells, step and first centre along one axis, in scan voxels, that keep the spacing and the centre."""
    if abs(ratio - 1) * n < _SNAP_VOXELS:
        # Whole voxels are moved, never interpolated; odd remainders as MONAI's ResizeWithPadOrCrop has them.
        n_out = wanted if wanted is not None else n
        return n_out, 1.0, float(n // 2 - n_out // 2 if n_out <= n else -((n_out - n) // 2))
    n_out = wanted if wanted is not None else max(1, round(n / ratio))
    return n_out, ratio, (n - 1) / 2 - ratio * (n_out - 1) / 2
