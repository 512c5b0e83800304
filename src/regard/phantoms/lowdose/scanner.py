"""A CT scanner at any dose: from an object, or by the noise that a real scan would have had on top."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from regard.core import randomness
from regard.core.errors import InputError, ShapeError
from regard.phantoms.lowdose.beams import Beam, ParallelBeam
from regard.phantoms.lowdose.counts import FLOOR, measure, variance
from regard.phantoms.lowdose.projection import project
from regard.phantoms.lowdose.reconstruction import reconstruct
from regard.phantoms.lowdose.units import WATER, to_attenuation, to_hounsfield

__all__ = ["LowDoseScanner"]


@dataclass(frozen=True)
class LowDoseScanner:
    """Axial CT of one energy with filtered back-projection.

    Parameters
    ----------
    beam
        Views and detector.
    photons
        N0: photons per ray at full dose, with nothing in the way.
    electronic
        Standard deviation of the electronics [photons], the same at every dose.
    kernel
        Reconstruction kernel.
    bow_tie_mm
        Diameter of the water cylinder whose paths the bow-tie filter makes equal [mm]; None: no filter.
    modulation
        Exponent of the tube modulation: each view's photons go with ``exp(modulation * p)`` of its thickest path p, at
        the same mean; 0: none.
    water
        Attenuation of water [1/mm].
    """

    beam: Beam = field(default_factory=ParallelBeam)
    photons: float = 2.5e6
    electronic: float = 8.0
    kernel: str = "hann"
    bow_tie_mm: float | None = None
    modulation: float = 0.0
    water: float = WATER

    def photons_per_ray(self, line_integrals: Tensor, dose: float) -> Tensor:
        """N0 of every ray (batch, 1, view, detector) for a ``dose``, a share of full dose.

        Raises
        ------
        InputError
            If the dose is not above 0.
        """
        if not dose > 0:
            raise InputError(f"a dose of {dose:g}", "a share of full dose above 0, such as 0.25")
        n0 = torch.full_like(line_integrals, self.photons * dose)
        if self.bow_tie_mm is not None:
            start, _, _ = self.beam.rays()
            off = start.norm(dim=1).to(line_integrals)
            radius = self.bow_tie_mm / 2
            path = 2 * (radius**2 - off.square()).clamp_min(0).sqrt()
            n0 = n0 * torch.exp(-self.water * (self.bow_tie_mm - path))
        if self.modulation:
            share = torch.exp(self.modulation * line_integrals.amax(-1, keepdim=True))
            n0 = n0 * share / share.mean(2, keepdim=True)
        return n0

    def scan(
        self,
        image: Tensor,
        spacing_mm: float,
        size: int,
        pixel_mm: float,
        *,
        dose: float | None = 1.0,
        seed: int = 0,
        case: str = "case",
        draw: int | str = 0,
    ) -> Tensor:
        """Scan an object.

        Parameters
        ----------
        image
            Object (batch, 1, row, column) [HU].
        spacing_mm
            Its pixel size [mm], at most half of the reconstruction's, lest the same grid be used both ways.
        size, pixel_mm
            Pixels along each side of the reconstruction, and their size [mm].
        dose
            Share of full dose, 0.05 to 1; None: without noise.
        seed, case, draw
            Key of the noise.

        Returns
        -------
        Tensor
            (batch, 1, row, column) [HU].

        Raises
        ------
        InputError
            If the object's grid is not fine enough.
        """
        paths = self.line_integrals(image, spacing_mm, pixel_mm)
        return self.image_of(paths, size, pixel_mm, dose=dose, seed=seed, case=case, draw=draw)

    def line_integrals(self, image: Tensor, spacing_mm: float, pixel_mm: float) -> Tensor:
        """Line integrals (batch, 1, view, detector) of an object, without noise; parameters and errors as `scan`."""
        if spacing_mm > pixel_mm / 2 * (1 + 1e-9):
            got = f"an object in pixels of {spacing_mm:g} mm for a reconstruction in {pixel_mm:g} mm"
            raise InputError(got, "an object at least twice as fine", "render it on a finer grid")
        return project(to_attenuation(image, self.water), spacing_mm, self.beam)

    def image_of(
        self,
        paths: Tensor,
        size: int,
        pixel_mm: float,
        *,
        dose: float | None = 1.0,
        centre_mm: tuple[float, float] = (0.0, 0.0),
        seed: int = 0,
        case: str = "case",
        draw: int | str = 0,
    ) -> Tensor:
        """Measure line integrals at a dose and reconstruct them; parameters as `scan`, ``centre_mm`` as `reconstruct`.

        An object that is scanned again and again needs to be projected once.
        """
        if dose is not None:
            generator = randomness.generator(seed, case, f"counts {draw}")
            paths = measure(paths, self.photons_per_ray(paths, dose), self.electronic, generator)
        found = reconstruct(paths, self.beam, size, pixel_mm, kernel=self.kernel, centre_mm=centre_mm)
        return to_hounsfield(found, self.water)

    def dose_noise(
        self,
        image: Tensor,
        spacing_mm: float,
        dose: float,
        *,
        seed: int = 0,
        case: str = "case",
        draw: int | str = 0,
    ) -> Tensor:
        """The noise [HU] that a scan at full dose lacks to be one at ``dose``; parameters as `add_dose_noise`."""
        if not 0 < dose <= 1:
            raise InputError(f"a dose of {dose:g}", "a share of full dose, above 0 and at most 1")
        if image.shape[-1] != image.shape[-2]:
            raise ShapeError(f"a scan of {tuple(image.shape)}", "as many rows as columns", "pad it")
        paths = project(to_attenuation(image, self.water), spacing_mm, self.beam)
        spreads = []
        for share in (dose, 1.0):
            n0 = self.photons_per_ray(paths, share)
            # As in `measure`: no ray counts for fewer photons than the floor.
            spreads.append(variance(torch.minimum(paths, torch.log(n0 / FLOOR)), n0, self.electronic))
        white = randomness.normal(paths, seed, case, f"dose {draw}")
        noise = white * (spreads[0] - spreads[1]).clamp_min(0).sqrt()
        found = reconstruct(noise, self.beam, image.shape[-1], spacing_mm, kernel=self.kernel)
        return 1000 * found / self.water

    def add_dose_noise(
        self,
        image: Tensor,
        spacing_mm: float,
        dose: float,
        *,
        seed: int = 0,
        case: str = "case",
        draw: int | str = 0,
    ) -> Tensor:
        """A real scan as at a lower dose: only the difference in noise is added, the scan itself stays as it is.

        Gaussian, of variance ``v(dose) - v(1)`` in every ray, whose path is taken from the scan.

        Parameters
        ----------
        image
            Scan at full dose (batch, 1, row, column), square [HU].
        spacing_mm
            Pixel size [mm].
        dose
            Share of full dose.
        seed, case, draw
            Key of the noise.

        Raises
        ------
        InputError
            If the dose is not in (0, 1].
        ShapeError
            If the scan is not square.
        """
        return image + self.dose_noise(image, spacing_mm, dose, seed=seed, case=case, draw=draw)
