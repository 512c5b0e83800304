"""A torso that we wrote ourselves: axial CT, radiographs and low-dose CT from one anatomy with known mineral.

Everything is a function of world coordinates, so that a torso can be rendered at any voxel size, anywhere, again and
again, with one factor changed and all else fixed. The origin is the centre of L1's body; x runs to the patient's right,
y forward, z up [mm].
"""

from regard.phantoms.torso.density import areal_bmd, label_weights, measure_l1, trabecular_bmd
from regard.phantoms.torso.factors import CAUSES, DECOYS, FACTORS, factors_of, with_factors
from regard.phantoms.torso.phantom import TorsoPhantom, TorsoSubject
from regard.phantoms.torso.population import draw_shape, paper_label_density
from regard.phantoms.torso.render import Torso, render_torso
from regard.phantoms.torso.scanner import Scanner, scan
from regard.phantoms.torso.shape import TorsoShape
from regard.phantoms.torso.slices import L1Slice, l1_slices, slices_of
from regard.phantoms.torso.structures import STRUCTURES

__all__ = [
    "CAUSES",
    "DECOYS",
    "FACTORS",
    "STRUCTURES",
    "L1Slice",
    "Scanner",
    "Torso",
    "TorsoPhantom",
    "TorsoShape",
    "TorsoSubject",
    "areal_bmd",
    "draw_shape",
    "factors_of",
    "l1_slices",
    "label_weights",
    "measure_l1",
    "paper_label_density",
    "render_torso",
    "scan",
    "slices_of",
    "trabecular_bmd",
    "with_factors",
]
