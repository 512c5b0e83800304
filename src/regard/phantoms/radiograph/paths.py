"""What the rays of a radiograph pass through: projected once for each chest, exposed again and again."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from regard.core import randomness
from regard.phantoms.radiograph.chest import SPACING, Chest, draw_chest_shape, render_chest
from regard.phantoms.radiograph.findings import BEHIND, FINDINGS, Finding, draw_lesions, shadows_of
from regard.phantoms.radiograph.markers import LETTERS, letter
from regard.phantoms.radiograph.projection import VIEWS, Field, project
from regard.phantoms.radiograph.vessels import grow_vessels, vessels_of
from regard.phantoms.torso.render import LARGEST_CELL

__all__ = ["RadiographPaths", "draw_paths", "packed", "paths_of", "unpacked"]

Paths = Mapping[str, "RadiographPaths"]
"""Those of one chest by view."""

LUNG_PATH = 2.5
"""Path through lung from which a pixel belongs to the lung fields [cm]."""

SPINE_MM = 26.0
"""Half width of the band around the spine that no finding counts as hidden behind."""


@dataclass(frozen=True, eq=False)
class RadiographPaths:
    """What the rays of one view of one chest pass through, (row, column) each; the piece that a study keeps.

    Parameters
    ----------
    name
        Case id.
    view, pixel_mm
        ``"PA"`` or ``"AP"``; pixel on the detector.
    water
        Soft tissue, with the marrow and matrix of bones [cm of water].
    mineral
        Bone mineral and other calcium [g/cm2].
    tissue
        The part of ``water`` that lies inside bones [cm of water].
    lung
        Lung fields, bool.
    ribs
        Mineral without a band around the spine [g/cm2].
    findings
        One of each kind at full dose.
    letters
        Log attenuation of the letters ``"R"`` and ``"L"``.
    """

    name: str
    view: str
    pixel_mm: float
    water: Tensor
    mineral: Tensor
    tissue: Tensor
    lung: Tensor
    ribs: Tensor
    findings: dict[str, Finding]
    letters: dict[str, Tensor]

    @property
    def behind_bone(self) -> Tensor:
        """Pixels behind ribs, clavicles or shoulder blades, (row, column) of bool."""
        return self.ribs > BEHIND


def paths_of(chest: Chest, field: Field, *, seed: int = 0) -> dict[str, RadiographPaths]:
    """Project a chest, with one finding of each kind, in each view."""
    volumes = torch.stack((chest.water, chest.mineral, chest.water * chest.bone, chest.lung.float()))
    aside = field.offsets().abs() > SPINE_MM
    name = chest.shape.name
    letters = {text: letter(text, field, seed=seed, case=name) for text in LETTERS}
    found: dict[str, RadiographPaths] = {}
    lesions = None
    branches = grow_vessels(chest, seed=seed)
    for view, here in VIEWS.items():
        water, mineral, tissue, lung = project(chest, volumes, here, field)
        water = water + vessels_of(branches, here, field)
        ribs = mineral * aside
        if lesions is None:
            lesions = draw_lesions(chest, ribs, here, field, seed=seed)
        found[view] = RadiographPaths(
            name, view, field.pixel_mm, water, mineral, tissue, lung > LUNG_PATH, ribs,
            shadows_of(lesions, chest, ribs, here, field), letters,
        )  # fmt: skip
    return found


def placed(field: Field, seed: int, name: str, spread: float) -> Field:
    """The field as the patient happens to stand before it: up to 7 % smaller, and off the middle."""
    a, b, c = randomness.uniform((3,), seed, name, "place before the detector").tolist()
    side = field.side_mm * (1 - 0.07 * spread * a)
    # Never so far that the field looks past the chest's box.
    slack = (field.side_mm - side) / 2
    x, z = field.middle
    return replace(field, side_mm=side, middle=(x + slack * (2 * b - 1), z + slack * (2 * c - 1)))


def draw_paths(
    seed: int,
    case: int,
    field: Field | None = None,
    *,
    spacing_mm: tuple[float, float, float] = SPACING,
    largest_cell_mm: float = LARGEST_CELL,
    spread: float = 1.0,
) -> dict[str, RadiographPaths]:
    """Paths of a chest drawn at random, by view.

    Parameters
    ----------
    seed, case
        Key of every draw.
    field
        The picture; None: 256 x 256.
    spacing_mm
        Voxel size of the chest along x, y and z.
    largest_cell_mm
        See `render_chest`.
    spread
        How much the patient's place before the detector varies: 0 not at all, 1 as usual.
    """
    chest = render_chest(draw_chest_shape(seed, case), spacing_mm, largest_cell_mm=largest_cell_mm)
    return paths_of(chest, placed(field or Field(), seed, chest.shape.name, spread), seed=seed)


_PLAIN = ("water", "mineral", "tissue", "ribs")


def packed(paths: Paths) -> dict[str, Tensor]:
    """Paths as tensors by name, for a file; float32."""
    found: dict[str, Tensor] = {}
    for view, own in paths.items():
        found[f"{view}.planes"] = torch.stack([getattr(own, name) for name in _PLAIN])
        found[f"{view}.lung"] = own.lung
        found[f"{view}.findings"] = torch.stack([own.findings[kind].path for kind in FINDINGS])
        found[f"{view}.masks"] = torch.stack([own.findings[kind].mask for kind in FINDINGS])
        found[f"{view}.hidden"] = torch.tensor([own.findings[kind].hidden for kind in FINDINGS])
        found[f"{view}.letters"] = torch.stack([own.letters[text] for text in LETTERS])
        found[f"{view}.pixel_mm"] = torch.tensor(own.pixel_mm)
    return found


def unpacked(name: str, tensors: Mapping[str, Tensor]) -> dict[str, RadiographPaths]:
    """The paths of the case ``name`` from `packed` tensors."""
    found = {}
    for view in (v for v in VIEWS if f"{v}.planes" in tensors):
        planes = dict(zip(_PLAIN, tensors[f"{view}.planes"], strict=True))
        parts = zip(
            FINDINGS, tensors[f"{view}.findings"], tensors[f"{view}.masks"], tensors[f"{view}.hidden"], strict=True
        )
        found[view] = RadiographPaths(
            name,
            view,
            float(tensors[f"{view}.pixel_mm"]),
            lung=tensors[f"{view}.lung"],
            findings={kind: Finding(kind, path, mask, float(hidden)) for kind, path, mask, hidden in parts},
            letters=dict(zip(LETTERS, tensors[f"{view}.letters"], strict=True)),
            **planes,
        )
    return found
