"""The maps of single cases in one Zarr store, laid out so that a block of voxels can be read over all cases."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from regard.cohort.engine import CHUNK
from regard.cohort.moments import State, map_of, names_in
from regard.core.errors import FileError
from regard.core.optional import need
from regard.core.volume import Grid
from regard.io.atomic import announce

__all__ = ["MapStore", "blocks", "open_maps", "quantiles"]

logger = logging.getLogger(__name__)

_SIDE = 32
_BLOCK_BYTES = 64 * 2**20


@dataclass
class MapStore:
    """``maps.zarr``: one array (case, i, j, k), float32, for each map; NaN for a case that is not there.

    Parameters
    ----------
    path
        The folder ``maps.zarr``.
    case_ids
        Every case of the table, in its order.
    grid
        Of all maps.
    names
        The maps that are kept.
    """

    path: Path
    case_ids: Sequence[str]
    grid: Grid
    names: Sequence[str]
    _kept: dict[str, dict[int, np.ndarray]] = field(init=False, default_factory=dict)
    _arrays: dict[str, Any] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        zarr = need("zarr", extra="scale", purpose="--maps all")
        announce(self.path, whole=True)
        self._group = zarr.open_group(self.path, mode="a", zarr_format=3)
        self._group.attrs.update(
            {
                "schema": "regard.maps/1",
                "axes": ["case", "i", "j", "k"],
                "case_ids": list(self.case_ids),
                "affine": self.grid.affine.tolist(),
            }
        )

    def put(self, row: int, state: State) -> None:
        """Take the maps of one case; they are written by `flush`."""
        for name in names_in(state):
            if name in self.names:
                self._kept.setdefault(name, {})[row] = map_of(state, name)

    def flush(self) -> None:
        """Write what was taken, each chunk of cases at once.

        Raises
        ------
        FileError
            If it cannot be written.
        """
        for name, maps in self._kept.items():
            array = self._array(name)
            for chunk in sorted({row // CHUNK for row in maps}):
                rows = range(chunk * CHUNK, min((chunk + 1) * CHUNK, len(self.case_ids)))
                own = {row: maps[row] for row in rows if row in maps}
                try:
                    if len(own) < len(rows):
                        values = array[rows.start : rows.stop]
                        for row, one in own.items():
                            values[row - rows.start] = one
                    else:
                        values = np.stack([own[row] for row in rows])
                    array[rows.start : rows.stop] = values
                except OSError as error:
                    why = error.strerror or type(error).__name__
                    raise FileError(
                        f"cannot write to '{self.path}' ({why})", "room for the maps", "free some"
                    ) from error
        self._kept = {}

    def _array(self, name: str) -> Any:
        if name not in self._arrays:
            if name in self._group:
                self._arrays[name] = self._group[name]
            else:
                self._arrays[name] = self._group.create_array(
                    name,
                    shape=(len(self.case_ids), *self.grid.shape),
                    chunks=(min(CHUNK, len(self.case_ids)), *(min(_SIDE, n) for n in self.grid.shape)),
                    dtype="float32",
                    fill_value=float("nan"),
                )
        return self._arrays[name]


def open_maps(path: str | Path) -> Any:
    """Open ``maps.zarr`` of a cohort for reading: a group of one array (case, i, j, k) for each map.

    Raises
    ------
    FileError
        If there is none, as after ``--maps none``.
    """
    zarr = need("zarr", extra="scale", purpose="reading the maps of a cohort")
    if not Path(path).is_dir():
        raise FileError(f"no '{path}'", "maps.zarr of a cohort", "run it with --maps all")
    return zarr.open_group(path, mode="r")


def blocks(array: Any, rows: Sequence[int] | None = None) -> Iterator[tuple[tuple[slice, slice, slice], np.ndarray]]:
    """Every block of voxels over all cases, so that no more than about 64 MiB are in memory at once.

    Parameters
    ----------
    array
        (case, i, j, k).
    rows
        Cases to read; all by default.

    Yields
    ------
    place
        Slices along i, j, k.
    values
        (case, i, j, k), float32.
    """
    n_cases, *shape = array.shape
    sides = [min(_SIDE, n) for n in shape]
    # Along the last axis as far as memory allows: whole chunks only, so that none is read twice.
    while sides[2] < shape[2] and 4 * n_cases * sides[0] * sides[1] * (sides[2] + _SIDE) <= _BLOCK_BYTES:
        sides[2] += _SIDE
    for i in range(0, shape[0], sides[0]):
        for j in range(0, shape[1], sides[1]):
            for k in range(0, shape[2], sides[2]):
                place = tuple(slice(a, min(a + s, n)) for a, s, n in zip((i, j, k), sides, shape, strict=True))
                values = np.asarray(array[(slice(None), *place)])
                yield place, values if rows is None else values[list(rows)]  # type: ignore[misc]


def quantiles(array: Any, levels: Sequence[float], rows: Sequence[int] | None = None) -> np.ndarray:
    """Exact quantiles of every voxel over cases, block by block.

    Parameters
    ----------
    array
        (case, i, j, k), as `open_maps` gives it.
    levels
        Such as 0.05, 0.5, 0.95.
    rows
        Cases to count; all by default.

    Returns
    -------
    numpy.ndarray
        (level, i, j, k), float32; NaN where no case saw the voxel.
    """
    found = np.full((len(levels), *array.shape[1:]), np.nan, np.float32)
    for place, values in blocks(array, rows):
        seen = np.isfinite(values).any(0)
        if seen.any():
            columns = values[:, seen]
            block = np.full((len(levels), *seen.shape), np.nan, np.float32)
            block[:, seen] = np.nanquantile(columns, levels, axis=0)
            found[(slice(None), *place)] = block
    return found
