"""Where the rays run: parallel and fan beams around the middle of the image.

At view angle a, the detector axis is ``(column, row) = (cos a, -sin a)`` and the rays of a parallel beam run along
``(sin a, cos a)``: the orientation of scikit-image's ``radon``.
"""

import math
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from regard.core.errors import InputError

__all__ = ["Beam", "FanBeam", "ParallelBeam"]


@dataclass(frozen=True)
class ParallelBeam:
    """Parallel rays over half a turn.

    Parameters
    ----------
    n_views
        Views over 180 degrees.
    n_detectors
        Cells of the detector.
    detector_mm
        Their width [mm].
    """

    n_views: int = 360
    n_detectors: int = 256
    detector_mm: float = 1.0

    def __post_init__(self) -> None:
        _check(self.n_views, self.n_detectors, self.detector_mm)

    def angles(self) -> Tensor:
        """View angles (view,) [rad]."""
        return torch.arange(self.n_views, dtype=torch.float64) * (math.pi / self.n_views)

    def offsets(self) -> Tensor:
        """Distance of each cell from the middle ray [mm]."""
        return (torch.arange(self.n_detectors, dtype=torch.float64) - (self.n_detectors - 1) / 2) * self.detector_mm

    def rays(self) -> tuple[Tensor, Tensor, float]:
        """Rays in the frame of a view, (detector axis, ray axis) [mm].

        Returns
        -------
        start
            Point of each ray nearest to the middle (detector, 2).
        direction
            Unit vectors (detector, 2).
        step
            Distance between two rays at the middle [mm].
        """
        offsets = self.offsets()
        start = torch.stack([offsets, torch.zeros_like(offsets)], 1)
        return start, torch.tensor([[0.0, 1.0]], dtype=torch.float64).expand_as(start), self.detector_mm


@dataclass(frozen=True)
class FanBeam:
    """Rays from a source that turns around the patient, with cells at equal angles.

    Parameters
    ----------
    n_views
        Views over 360 degrees.
    n_detectors
        Cells of the detector.
    detector_mm
        Width of a cell, seen at the middle [mm].
    source_mm
        From the source to the middle [mm].
    """

    n_views: int = 720
    n_detectors: int = 256
    detector_mm: float = 1.0
    source_mm: float = 570.0

    def __post_init__(self) -> None:
        _check(self.n_views, self.n_detectors, self.detector_mm)
        half = self.n_detectors * self.step / 2
        if not 0 < half < math.pi / 2:
            got = f"a fan of {math.degrees(2 * half):.0f} degrees"
            raise InputError(got, "less than 180", "move the source away")

    @property
    def step(self) -> float:
        """Angle between two rays [rad]."""
        return self.detector_mm / self.source_mm

    def angles(self) -> Tensor:
        """View angles (view,) [rad]."""
        return torch.arange(self.n_views, dtype=torch.float64) * (2 * math.pi / self.n_views)

    def offsets(self) -> Tensor:
        """Angle of each ray from the middle one [rad]."""
        return (torch.arange(self.n_detectors, dtype=torch.float64) - (self.n_detectors - 1) / 2) * self.step

    def rays(self) -> tuple[Tensor, Tensor, float]:
        """Rays in the frame of a view, as `ParallelBeam.rays`."""
        angle = self.offsets()
        direction = torch.stack([angle.sin(), angle.cos()], 1)
        start = torch.tensor([[0.0, -self.source_mm]], dtype=torch.float64) + (
            self.source_mm * angle.cos()[:, None] * direction
        )
        return start, direction, self.detector_mm


Beam: TypeAlias = ParallelBeam | FanBeam


def _check(n_views: int, n_detectors: int, detector_mm: float) -> None:
    if n_views < 1 or n_detectors < 2 or not detector_mm > 0:
        raise InputError(
            f"{n_views} views of {n_detectors} cells of {detector_mm:g} mm", "some views and cells of a width"
        )
