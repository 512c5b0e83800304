"""Frontal radiographs of the simulated chest: bone and soft tissue apart, findings of tuberculosis, decoys.

Chests are projected once (`draw_paths`, seconds) and exposed as often as one likes (`expose`, milliseconds). All
pictures are (row, column), hung as radiographs are: row 0 uppermost, column 0 the patient's right, bone white.
"""

from regard.phantoms.radiograph.attenuation import BEAMS, Beam
from regard.phantoms.radiograph.chest import Chest, draw_chest_shape, render_chest
from regard.phantoms.radiograph.exposure import CLEAN, Display, Exposure, detect, display_of
from regard.phantoms.radiograph.findings import FINDINGS, Finding
from regard.phantoms.radiograph.paths import RadiographPaths, draw_paths, packed, paths_of, unpacked
from regard.phantoms.radiograph.phantom import (
    DECOYS,
    Draws,
    RadiographPhantom,
    RadiographSubject,
    draw_factors,
    expose,
)
from regard.phantoms.radiograph.projection import VIEWS, Field, View, project

__all__ = [
    "BEAMS",
    "CLEAN",
    "DECOYS",
    "FINDINGS",
    "VIEWS",
    "Beam",
    "Chest",
    "Display",
    "Draws",
    "Exposure",
    "Field",
    "Finding",
    "RadiographPaths",
    "RadiographPhantom",
    "RadiographSubject",
    "View",
    "detect",
    "display_of",
    "draw_chest_shape",
    "draw_factors",
    "draw_paths",
    "expose",
    "packed",
    "paths_of",
    "project",
    "render_chest",
    "unpacked",
]
