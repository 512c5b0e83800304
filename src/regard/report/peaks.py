"""Where a map is largest: clusters above a threshold, with their peaks, sizes and names."""

from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from regard.cohort.atlas import Atlas, read_atlas
from regard.core.errors import InputError
from regard.core.explanation import Explanation

__all__ = ["peaks"]


def peaks(
    explanation: Explanation,
    *,
    n: int = 10,
    threshold: float | None = None,
    atlas: Atlas | str | Path | None = None,
    atlas_table: str | Path | None = None,
) -> Any:
    """Clusters of a map, the largest peak first.

    A cluster is a set of voxels of one sign beyond the threshold that touch by face, edge or corner.

    Parameters
    ----------
    explanation
        The map.
    n
        Clusters at most.
    threshold
        Least |value| of a cluster, in the map's unit; by default half of the largest.
    atlas, atlas_table
        Label image (a path, read onto the scan's grid) that names the place of each peak, and its table of names.

    Returns
    -------
    pandas.DataFrame
        One row per cluster: ``value`` at the peak and its ``unit``; ``x``, ``y``, ``z`` of the peak (RAS mm; in pixels
        where the scan has no geometry) and its voxel ``i``, ``j``, ``k``; ``voxels`` and ``volume_mm3`` of the cluster,
        ``sum`` of the map over it; ``region`` with an atlas.

    Raises
    ------
    InputError
        If a threshold is not above 0, or an atlas does not fit the scan.
    """
    import pandas as pd

    if threshold is not None and not threshold > 0:
        raise InputError(
            f"threshold={threshold}", "a number above 0, in the map's unit", "or None for half of the peak"
        )
    values = np.nan_to_num(explanation.numpy().astype(np.float64))
    grid = explanation.scan.grid
    if atlas is not None and not isinstance(atlas, Atlas):
        atlas = read_atlas(atlas, grid, table=atlas_table)
    if atlas is not None and atlas.labels.shape != values.shape:
        raise InputError(f"an atlas of {atlas.labels.shape}", f"the scan's voxels, {values.shape}", "read it onto them")
    largest = float(np.abs(values).max(initial=0.0))
    least = largest / 2 if threshold is None else threshold
    rows = []
    for sign in (1.0, -1.0):
        beyond = (sign * values >= least) & (sign * values > 0)
        labels, _ = ndimage.label(beyond, np.ones((3, 3, 3)))
        for number, box in enumerate(ndimage.find_objects(labels), start=1):
            inside = labels[box] == number
            part = np.where(inside, values[box], 0.0)
            place = np.unravel_index(int(np.abs(part).argmax()), part.shape)
            voxel = tuple(int(p) + s.start for p, s in zip(place, box, strict=True))
            row = {
                "value": float(values[voxel]),
                "unit": explanation.unit,
                **dict(zip("xyz", (float(v) for v in grid.to_world(voxel)), strict=True)),
                **dict(zip("ijk", voxel, strict=True)),
                "voxels": int(inside.sum()),
                "volume_mm3": float(inside.sum() * np.prod(grid.spacing)),
                "sum": float(part.sum()),
            }
            if atlas is not None:
                row["region"] = atlas.names.get(int(atlas.labels[voxel]), "")
            rows.append(row)
    columns = ["value", "unit", "x", "y", "z", "i", "j", "k", "voxels", "volume_mm3", "sum"]
    columns += ["region"] if atlas is not None else []
    rows.sort(key=lambda r: -abs(r["value"]))
    return pd.DataFrame(rows[:n], columns=columns)
