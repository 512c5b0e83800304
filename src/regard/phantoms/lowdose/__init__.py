"""Low-dose CT from images: projection, photon and electronic noise, filtered back-projection, lesions of low contrast.

Images are (batch, 1, row, column) in HU or 1/mm, sinograms (batch, 1, view, detector) of line integrals. Everything
runs on any device, and gradients pass through projection and reconstruction.
"""

from regard.phantoms.lowdose.beams import Beam, FanBeam, ParallelBeam
from regard.phantoms.lowdose.counts import log_bias, measure, variance
from regard.phantoms.lowdose.ellipses import ellipse_slice
from regard.phantoms.lowdose.kernels import KERNELS
from regard.phantoms.lowdose.lesions import Lesion, insert_lesions
from regard.phantoms.lowdose.projection import project
from regard.phantoms.lowdose.reconstruction import backproject, reconstruct
from regard.phantoms.lowdose.scanner import LowDoseScanner
from regard.phantoms.lowdose.spectrum import expected_spectrum, noise_power_spectrum
from regard.phantoms.lowdose.units import WATER, to_attenuation, to_hounsfield

__all__ = [
    "Beam",
    "FanBeam",
    "KERNELS",
    "Lesion",
    "LowDoseScanner",
    "ParallelBeam",
    "WATER",
    "backproject",
    "ellipse_slice",
    "expected_spectrum",
    "insert_lesions",
    "log_bias",
    "measure",
    "noise_power_spectrum",
    "project",
    "reconstruct",
    "to_attenuation",
    "to_hounsfield",
    "variance",
]
