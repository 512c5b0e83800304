"""A label image with names, on the cohort's grid, and in which space it says to be."""

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from regard.cohort.region_names import read_region_names
from regard.core.errors import CardError, InputError
from regard.core.geometry import resample
from regard.core.volume import Grid
from regard.io import read
from regard.io.guard import read_text
from regard.io.intervals import is_interval_table, read_intervals
from regard.io.plain_text import parse_json
from regard.io.regions import whole_labels

__all__ = ["Atlas", "read_atlas", "space_of"]

logger = logging.getLogger(__name__)

_LONG = re.compile(r"MNI152NLin(2009[abc]|6)(Sym|Asym)", re.IGNORECASE)
_ICBM = re.compile(r"(?:icbm)?_?152.*?nlin_(sym|asym)_?(?:20)?(09[abc]|6)", re.IGNORECASE)
_SPACE = re.compile(r"(?:^|_)space-([A-Za-z0-9]+)")


def space_of(path: str | Path) -> str | None:
    """The standard space that a file says it is in: its sidecar, its name, or None where neither tells.

    Known are BIDS' ``space-<label>``, and the names of the MNI templates (``MNI152NLin2009cAsym``, or
    ``mni_icbm152_..._nlin_asym_09c`` as MNI writes it).
    """
    path = Path(path)
    name = path.name
    sidecar = path.with_name(re.sub(r"\.nii(\.gz)?$", "", name) + ".json")
    try:
        said = parse_json(read_text(sidecar, "sidecar"))
        reference = said.get("SpatialReference", said.get("Space"))
    except (InputError, AttributeError):
        reference = None
    for text in (reference, name):
        if not isinstance(text, str):
            continue
        if (found := _LONG.search(text)) is not None:
            return f"MNI152NLin{found[1].lower()}{found[2].capitalize()}"
        if (found := _ICBM.search(text)) is not None:
            year = found[2].lower()
            return f"MNI152NLin{'20' + year if year != '6' else year}{found[1].capitalize()}"
        if (found := _SPACE.search(text)) is not None:
            return found[1]
    return None


@dataclass(frozen=True, eq=False)
class Atlas:
    """Regions on a grid.

    Parameters
    ----------
    labels
        Number of the region of each voxel, (i, j, k); 0 is none.
    names
        Name of each region that is somewhere on the grid, by its label, in the order of the labels.
    space
        Standard space that the atlas says it is in, or None.
    """

    labels: np.ndarray
    names: Mapping[int, str]
    space: str | None = None

    @property
    def place(self) -> np.ndarray:
        """Position in `names` of each voxel's region, from 1; 0 where there is none, (i, j, k)."""
        order = np.zeros(int(self.labels.max(initial=0)) + 1, np.int64)
        for n, label in enumerate(self.names):
            order[label] = n + 1
        return order[self.labels]


def read_atlas(path: str | Path, grid: Grid, *, table: str | Path | None = None) -> Atlas:
    """Read a label image onto a grid, by the nearest label.

    Parameters
    ----------
    path
        Any image of whole numbers of at least 0; of signals that are aligned in time, a table of intervals
        (`regard.io.intervals`), whose labels are the regions.
    grid
        The cohort's.
    table
        Names of its labels, as `regard.cohort.region_names` reads them: columns ``index`` and ``name``, or the tables
        of FreeSurfer, FSL, ITK-SNAP, nilearn and others; without one regions are called by their number.

    Raises
    ------
    InputError
        If its labels are not whole numbers, or none lies on the grid.
    CardError
        If the table is of no known kind, gives a label two names, or names none of the atlas's labels.
    """
    if is_interval_table(Path(path)):
        return _of_intervals(Path(path), grid)
    volume = read(path)
    volume = volume.with_tensor(whole_labels(volume.tensor))
    values = volume.tensor[0].double().numpy()
    if volume.n_channels > 1 or not np.array_equal(values, np.round(values)) or values.min(initial=0) < 0:
        raise InputError(f"the atlas '{path}'", "one whole number of at least 0 for each voxel", "give a label image")
    on_grid = volume if volume.grid.matches(grid) else resample(volume, grid, order=0)
    labels = on_grid.tensor[0].numpy().astype(np.int64)
    present = [int(label) for label in np.unique(labels) if label]
    if not present:
        raise InputError(f"the atlas '{path}', no label of which lies on the maps", "one in their space")
    named = {} if table is None else read_region_names(table, highest=int(values.max()))
    lost = sorted({int(v) for v in np.unique(values) if v} - set(present))
    if lost:
        logger.warning("%d regions of the atlas are off the maps' grid or too small for it: %s", len(lost), lost[:10])
    if named and not set(named) & set(present):
        held = ", ".join(map(str, present[:5]))
        got = f"'{table}', which names {len(named)} labels and none of the atlas's ({held} ...)"
        raise CardError(got, "the table that belongs to the atlas", "check the pair")
    nameless = [label for label in present if named and label not in named]
    if nameless:
        logger.warning("%d labels of the atlas have no name in its table: %s", len(nameless), nameless[:10])
    return Atlas(labels, {label: named.get(label, f"label {label}") for label in present}, space_of(path))


def _of_intervals(path: Path, grid: Grid) -> Atlas:
    """The labels of a table of intervals on a grid of time, in their order; where two overlap the later row counts."""
    every = read_intervals(path)
    names = dict(enumerate(dict.fromkeys(i.label or "interval" for i in every), start=1))
    numbers = {name: n for n, name in names.items()}
    times = grid.affine[0, 3] + grid.affine[0, 0] * np.arange(grid.shape[0])
    labels = np.zeros(grid.shape, np.int64)
    for interval in every:
        labels[(times >= interval.onset_s) & (times <= interval.offset_s)] = numbers[interval.label or "interval"]
    present = {n: name for n, name in names.items() if (labels == n).any()}
    if not present:
        raise InputError(f"the intervals of '{path}', none of which lies on the cohort's time", "ones that do",
                         "give times on the recordings' own clock")  # fmt: skip
    return Atlas(labels, present)
