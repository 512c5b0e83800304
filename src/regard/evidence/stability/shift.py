"""Whether a map goes along when the patient lies half a voxel further, and stays when the grid is another."""

from typing import ClassVar

import torch
from torch import Tensor

from regard.core.errors import InputError
from regard.core.spatial import interpolate, space, space_axes
from regard.evidence.again import explain_again
from regard.evidence.measure import AbstractMeasure, Direction, Exhibit, Measured
from regard.evidence.sanity.similarity import correlation

__all__ = ["ResamplingStability", "ShiftStability", "half_shift"]


def half_shift(x: Tensor, axis: int, *, back: bool = False) -> Tensor:
    """Shift ``x`` (batch, channel, \\*space) by half a voxel along an axis, by linear interpolation, edges repeated.

    Forth takes the mean with the next voxel, back the mean with the one before.
    """
    n = x.shape[axis]
    if back:
        return (torch.cat([x.narrow(axis, 0, 1), x.narrow(axis, 0, n - 1)], axis) + x) / 2
    return (x + torch.cat([x.narrow(axis, 1, n - 1), x.narrow(axis, n - 1, 1)], axis)) / 2


class ShiftStability(AbstractMeasure):
    """How far the map is from going along with a shift by half a voxel: mean over axes of 1 - Pearson's correlation.

    With S the shift and B the shift back, B(map of S x) is compared with B(S(map of x)), so that what interpolation
    blurs is on both sides; a voxel at either end of the axis is left out. 0 for a map that moves with the image. A map
    that is fixed to the grid rather than to the image, such as the gradient of a linear function, pays for what it has
    that is finer than half a voxel. NaN where a map is constant, or no axis has five voxels.
    """

    direction: ClassVar[Direction] = "lower"
    family: ClassVar[str] = "stable"
    needs: ClassVar[frozenset[str]] = frozenset({"explain"})

    def measure(self, exhibit: Exhibit) -> Measured:
        if exhibit.blank:
            return Measured.undefined("the map is zero everywhere")
        x, relevance = exhibit.x, exhibit.relevance.detach().double().cpu()
        axes = [axis for axis in space_axes(x) if x.shape[axis] > 4]
        if not axes:
            return Measured.undefined("an image too small to be shifted")
        moved = []
        for axis in axes:
            again = half_shift(explain_again(exhibit, half_shift(x, axis)), axis, back=True)
            fair = half_shift(half_shift(relevance, axis), axis, back=True)
            inner = x.shape[axis] - 2
            moved.append(1 - correlation(fair.narrow(axis, 1, inner), again.narrow(axis, 1, inner)))
        return Measured(
            sum(moved) / len(moved), "1", {"n_axes": len(axes)}, {"each axis": torch.tensor(moved, dtype=torch.float64)}
        )


class ResamplingStability(AbstractMeasure):
    """How far the map moves when the image has been on a coarser grid in between: 1 - Pearson's correlation.

    The image is interpolated to ``factor`` of its voxels along each axis and back, as between two scanners, and
    explained anew. 0 for a map that does not move. NaN where a map is constant.

    Parameters
    ----------
    factor
        Share of the voxels along each axis, below 1.
    """

    direction: ClassVar[Direction] = "lower"
    family: ClassVar[str] = "stable"
    needs: ClassVar[frozenset[str]] = frozenset({"explain"})

    def __init__(self, factor: float = 0.75) -> None:
        if not 0 < factor < 1:
            raise InputError(f"a resampling factor of {factor}", "one between 0 and 1")
        self.factor = factor

    def measure(self, exhibit: Exhibit) -> Measured:
        if exhibit.blank:
            return Measured.undefined("the map is zero everywhere")
        x, relevance = exhibit.x, exhibit.relevance.detach().double().cpu()
        coarse = [max(1, round(self.factor * n)) for n in space(x)]
        again = explain_again(exhibit, interpolate(interpolate(x, coarse), space(x)))
        notes = {"factor": self.factor, "relative norm": float((again - relevance).norm() / relevance.norm())}
        return Measured(1 - correlation(relevance, again), "1", notes)
