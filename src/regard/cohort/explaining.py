"""Explaining as a function over cases: every case's maps on the cohort's grid, its prediction, its regions."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from regard.cohort import moments
from regard.cohort.atlas import Atlas, read_atlas
from regard.cohort.carry import Carrier
from regard.cohort.moments import State
from regard.cohort.null import Null, masked_surrogate
from regard.cohort.part import Part
from regard.cohort.pattern import pattern_maps
from regard.cohort.question import Question, prediction_row
from regard.cohort.regions import region_figures
from regard.cohort.warp import Warp, read_warp
from regard.core.errors import GeometryError, InputError
from regard.core.explanation import Explanation
from regard.core.quantity import Quantity
from regard.core.volume import Grid, Volume
from regard.io import Case
from regard.models.case import prepare_case

__all__ = ["DIFFERENCE", "IMAGE", "JACOBIAN", "NULL", "RETRAINED", "Explaining", "map_name"]

IMAGE = "image"
"""Name of the mean image among the maps of a state."""

JACOBIAN = "jacobian"
"""Name of the Jacobian determinant of the warps among the maps of a state."""

NULL, DIFFERENCE = ".null", ".difference"
"""Endings of the names of a method's null map, and of its share of relevance minus that of the null map."""

RETRAINED = ".retrained"
"""Ending of the name under which the regions of networks retrained on shuffled labels are kept."""


@dataclass(frozen=True)
class Explaining:
    """Explains each case and carries its maps to one grid.

    Parameters
    ----------
    question
        What is asked.
    shape, affine
        Voxels (i, j, k) of the cohort's grid, and the sixteen numbers of its affine.
    has_template
        Whether scans may lie on other grids, and are carried to this one.
    warp
        Column of each case's transform from the template to the scan.
    atlas, atlas_table
        Regions whose figures are taken.
    null
        Which null map regions are compared with.
    image
        Whether the scans' mean is wanted, to draw the maps on.
    pattern
        Whether the pattern of the prediction is wanted; see `regard.cohort.pattern`.
    """

    question: Question
    shape: tuple[int, int, int]
    affine: tuple[float, ...]
    has_template: bool = False
    warp: str | None = None
    atlas: str | None = None
    atlas_table: str | None = None
    null: Null = "none"
    image: bool = True
    pattern: bool = False

    @property
    def grid(self) -> Grid:
        """The cohort's grid."""
        return Grid(self.shape, np.array(self.affine).reshape(4, 4))

    def open(self) -> "OpenExplaining":
        return OpenExplaining(self)

    def combine(self, a: State, b: State) -> State:
        return moments.combine(a, b)


def map_name(explanation: Explanation) -> str:
    """What a map is called in states, tables and file names."""
    return f"{explanation.name}_input-{explanation.input}" if explanation.input else explanation.name


class OpenExplaining:
    """`Explaining` with its network, its grid and its atlas in memory."""

    def __init__(self, function: Explaining) -> None:
        self.function, self.grid = function, function.grid
        self.asked = function.question.open()
        self.atlas: Atlas | None = None
        if function.atlas is not None:
            self.atlas = read_atlas(function.atlas, self.grid, table=function.atlas_table)
            self.place = self.atlas.place

    def part(self, case: Case) -> Part:
        """Explain one case."""
        scans = self.asked.scans(case)
        first = next(iter(scans.values()))
        warp = self._warp(case)
        if not self.function.has_template and not first.grid.matches(self.grid):
            raise GeometryError(
                f"an image of {first.shape} voxels, {_spacing(first.grid)}, in a cohort of {self.grid.shape}, "
                f"{_spacing(self.grid)}",
                "one grid for all",
                "name the common grid with --template FILE",
            )
        found = self.asked.explain(case, scans)
        nulls = []
        if self.function.null == "randomised":
            nulls = [self.asked.explain_forgetful(case, scans)]
        elif self.function.null == "retrained":
            nulls = self.asked.explain_retrained(case, scans)
        maps: dict[str, np.ndarray] = {}
        regions: dict[str, Any] = {}
        facts: dict[str, Any] = {}
        for n, explanation in enumerate(found.explanations):
            name = map_name(explanation)
            carrier = Carrier(explanation.scan.grid, self.grid, warp)
            maps[name], outside = carrier.carry(explanation.numpy(), explanation.quantity)
            facts[name] = _facts(explanation, outside)
            if nulls:
                others = [null.explanations[n] for null in nulls]
                carried = [carrier.carry(other.numpy(), other.quantity)[0] for other in others]
                maps[name + NULL] = carried[0] if len(carried) == 1 else np.mean(carried, axis=0)
                if self.function.null == "retrained" and self.atlas is not None:
                    count = len(self.atlas.names)
                    regions[name + RETRAINED] = [region_figures(m, self.place, count).plain() for m in carried]
            elif self.function.null == "surrogate":
                key = f"{case.case}/{name}"
                maps[name + NULL] = masked_surrogate(maps[name], seed=self.function.question.seed, case=key)
            for kind in (name, name + NULL):
                if kind in maps and self.atlas is not None:
                    regions[kind] = region_figures(maps[kind], self.place, len(self.atlas.names)).plain()
            if name + NULL in maps:
                maps[name + DIFFERENCE] = _share(maps[name]) - _share(maps[name + NULL])
        if self.function.image:
            maps[IMAGE], _ = Carrier(first.grid, self.grid, warp).carry(_grey(first), Quantity.SCORE)
        if self.function.pattern:
            maps |= pattern_maps(self._as_taken(scans, warp), found.prediction)
        if warp is not None:
            maps[JACOBIAN] = warp.jacobian(self.grid).astype(np.float32)
        row = {**prediction_row(case, found), "maps": facts, "regions": regions}
        return Part(moments.leaf(maps), row)

    def _as_taken(self, scans: Mapping[str, Volume], warp: Warp | None) -> np.ndarray:
        """The first input as the network takes it, the mean of its channels, on the cohort's grid."""
        prepared = prepare_case(self.asked.model, scans)
        part = prepared.parts[0]
        values = part.to_space(prepared.inputs.tensors[0]).detach().float().mean(0).cpu().numpy()
        return Carrier(part.grid, self.grid, warp).carry(values, Quantity.SCORE)[0]

    def _warp(self, case: Case) -> Warp | None:
        if self.function.warp is None:
            return None
        path = case.file(self.function.warp)
        if path is None:
            got = f"case '{case.case}' without a transform in column '{self.function.warp}'"
            raise InputError(got, "a file", "fill the cell, or leave out --warp")
        return read_warp(path)


def _spacing(grid: Grid) -> str:
    return " x ".join(f"{s:.3g}" for s in grid.spacing) + " mm"


def _share(values: np.ndarray) -> np.ndarray:
    """A map divided by the sum of its sizes: each voxel's share of relevance, with its sign."""
    size = np.nansum(np.abs(values.astype(np.float64)))
    return (values / size if size > 0 else values * np.nan).astype(np.float32)


def _grey(scan: Volume) -> np.ndarray:
    tensor = scan.tensor.detach().float()
    colour = not scan.has_geometry and scan.n_channels in (3, 4)
    array: np.ndarray = (tensor[:3].mean(0) if colour else tensor[0]).numpy()
    return array


def _facts(explanation: Explanation, outside: float) -> dict[str, Any]:
    """What all cases of a map have in common, and what a case lost on the way."""
    return {
        "method": explanation.method,
        "quantity": str(explanation.quantity),
        "sign": str(explanation.sign),
        "unit": explanation.unit,
        "form": explanation.form,
        "knobs": dict(explanation.knobs),
        "layer": explanation.layer,
        "total": explanation.total,
        "outside": explanation.outside + outside,
        "completeness_error": explanation.completeness_error,
        "notes": {k: v for k, v in explanation.notes.items() if isinstance(v, (int, float))},
    }
