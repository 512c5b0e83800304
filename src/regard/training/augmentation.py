"""Small random moves of an image, keyed by (seed, case, epoch): the same whatever the batch and the interruptions."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from regard.core import randomness
from regard.core.errors import InputError
from regard.core.spatial import space

__all__ = ["Augmentation"]


@dataclass(frozen=True)
class Augmentation:
    """Rotation in the plane of the first two axes, mirroring of the last axis, and shifts.

    Parameters
    ----------
    rotation
        Largest angle [degree].
    flip
        Whether half of the images are mirrored along the last axis.
    shift
        Largest shift along each axis, as a share of it.
    zoom
        Largest relative change of size.

    Raises
    ------
    InputError
        If a bound is negative.
    """

    rotation: float = 5.0
    flip: bool = True
    shift: float = 0.1
    zoom: float = 0.0

    def __post_init__(self) -> None:
        if min(self.rotation, self.shift, self.zoom) < 0:
            raise InputError(f"{self}", "bounds of at least 0")

    def matrix(self, n_axes: int, *, seed: int, case: int, epoch: int) -> Tensor:
        """Where the voxels of the moved image come from: (n_axes, n_axes + 1), as torch's ``affine_grid`` takes it."""
        u = randomness.uniform((3 + n_axes,), seed, str(case), f"augmentation {epoch}").double()
        angle = math.radians(self.rotation) * (2 * float(u[0]) - 1)
        size = 1 + self.zoom * (2 * float(u[1]) - 1)
        found = torch.zeros(n_axes, n_axes + 1, dtype=torch.float64)
        found[:, :n_axes] = torch.eye(n_axes, dtype=torch.float64) / size
        if n_axes > 1:
            cosine, sine = math.cos(angle) / size, math.sin(angle) / size
            found[:2, :2] = torch.tensor([[cosine, -sine], [sine, cosine]], dtype=torch.float64)
        if self.flip and float(u[2]) < 0.5:
            found[:, 0] *= -1  # torch's first coordinate runs along the last axis
        found[:, n_axes] = 2 * self.shift * (2 * u[3:] - 1)
        return found

    def apply(self, images: Tensor, *, seed: int, cases: list[int], epoch: int, filler: float = 0.0) -> Tensor:
        """Move each image in its own way.

        Parameters
        ----------
        images
            (batch, channel, \\*space).
        seed, cases, epoch
            Key of the draws, one case number for each image.
        filler
            What enters from outside.
        """
        n_axes = len(space(images))
        moves = torch.stack([self.matrix(n_axes, seed=seed, case=c, epoch=epoch) for c in cases])
        grid = functional.affine_grid(moves.to(images), list(images.shape), align_corners=False)
        return functional.grid_sample(images - filler, grid, align_corners=False) + filler
