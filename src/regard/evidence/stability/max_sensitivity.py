"""Max-sensitivity: the furthest that a map moves for a small change of the image."""

from typing import ClassVar

import torch

from regard.core import randomness
from regard.core.errors import InputError
from regard.evidence.again import explain_again
from regard.evidence.measure import AbstractMeasure, Direction, Exhibit, Measured

__all__ = ["MaxSensitivity"]


class MaxSensitivity(AbstractMeasure):
    """Largest relative norm of the map's change over random small changes of the image.

    In a formula::

        max over d, |d_i| <= radius, of || map(x + d) - map(x) || / || map(x) ||

    with d uniform, and Euclidean norms. 0 for a map that does not move. NaN for a map of zeros.

    Parameters
    ----------
    n_draws
        Random changes.
    radius
        Largest change of a voxel, as a share of the image's standard deviation.

    Notes
    -----
    Yeh et al. 2019, NeurIPS (arXiv 1901.09392), definition 3.1, divided by the norm of the map. More draws can only
    find more.
    """

    direction: ClassVar[Direction] = "lower"
    family: ClassVar[str] = "stable"
    needs: ClassVar[frozenset[str]] = frozenset({"explain"})

    def __init__(self, n_draws: int = 10, radius: float = 0.02) -> None:
        if n_draws < 1 or not radius > 0:
            raise InputError(f"{n_draws} draws of radius {radius}", "at least one, and a radius above 0")
        self.n_draws, self.radius = n_draws, radius

    def measure(self, exhibit: Exhibit) -> Measured:
        if exhibit.blank:
            return Measured.undefined("the map is zero everywhere")
        x, relevance = exhibit.x, exhibit.relevance.detach().double().cpu()
        radius = self.radius * float(x.double().std(correction=0))
        if not radius > 0:
            return Measured.undefined("the image is constant")
        moved = []
        for k in range(self.n_draws):
            drawn = randomness.uniform(tuple(x.shape), exhibit.seed, exhibit.case, f"max-sensitivity/{k}").to(x)
            again = explain_again(exhibit, x + radius * (2 * drawn - 1))
            moved.append(float((again - relevance).norm() / relevance.norm()))
        found = torch.tensor(moved, dtype=torch.float64)
        return Measured(float(found.max()), "1", {"radius": radius, "n_draws": self.n_draws}, {"each draw": found})
