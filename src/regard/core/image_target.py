"""Targets on networks that give images: a region, a voxel, a contrast, an error, the edges of a region.

Regions are given in scan space and carried to the output's grid by its affine.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from regard.core.errors import TargetError
from regard.core.geometry import AxisResampling, resample
from regard.core.target import AbstractTarget
from regard.core.volume import Grid, Volume

__all__ = ["Contrast", "EdgeStrength", "ErrorTo", "Mean", "Region", "Voxel"]

Region: TypeAlias = Tensor | Volume
"""Weights (\\*space) on the output's grid, or a mask on the scan's grid."""


def _whole_image(output: Tensor, n_space: int, what: str) -> None:
    """Refuse an image without its channel axis where no region tells that it has none: its rows would be channels."""
    if 3 <= output.ndim < n_space + 2 and output.shape[1] > 1:
        raise TargetError(
            f"an output of shape {tuple(output.shape)} for an input of {n_space} spatial axes and the target '{what}'",
            f"an image (N, C, *space) of {n_space} spatial axes",
            "keep the channel axis in the network (no bare squeeze()), or give a target function output -> (N,)",
        )


def _read_as(output: Tensor) -> str:
    """How an output is read, for sentences."""
    return f"an output of {tuple(output.shape)}, read as (N, C, *space) with images of {tuple(output.shape[2:])}"


def _image(output: Tensor, channel: int, what: str) -> Tensor:
    """Channel (batch, \\*space) of a network that gives images."""
    if output.ndim < 3:
        raise TargetError(
            f"an output of shape {tuple(output.shape)} for the target '{what}'",
            "an image (N, C, *space)",
            "choose a target for numbers: output:I, logit:K or probability:K (Output, Logit, Probability)",
        )
    if not 0 <= channel < output.shape[1]:
        raise TargetError(
            f"channel {channel} of {output.shape[1]}, in {_read_as(output)}",
            f"0 to {output.shape[1] - 1}",
            "choose one of them",
        )
    return output[:, channel]


def _carry(region: Region, grid: Grid) -> Tensor:
    """Share of each output voxel that lies inside a scan-space mask, (i, j, k)."""
    if isinstance(region, Tensor):
        return region
    if region.grid.matches(grid):
        return region.tensor[0]
    try:
        return AxisResampling(region.grid, grid).apply(region.tensor)[0]
    except ValueError:
        return resample(region, grid).tensor[0]


def _fitted(region: Region, image: Tensor, what: str, output: Tensor) -> Tensor:
    """A region or image (\\*space) on the grid of ``image`` (batch, \\*space), a channel of the ``output``.

    Axes of one place may be left out or given; anything else that happens to have as many numbers is refused.
    """
    values = (region.tensor[0] if isinstance(region, Volume) else region).to(image)

    def longer(shape: Sequence[int]) -> list[int]:
        return [n for n in shape if n > 1]

    if longer(values.shape) == longer(image.shape[1:]):
        return values.reshape(image.shape[1:])
    lacking = longer(values.shape) == longer(output.shape[1:])
    raise TargetError(
        f"{what} of shape {tuple(values.shape)} for {_read_as(output)}",
        "the same grid",
        "keep the channel axis in the network: output[:, None]"
        if lacking
        else "give it as a Volume, so that its affine carries it there",
    )


def _weights(region: Region, image: Tensor, what: str, output: Tensor) -> Tensor:
    weights = _fitted(region, image, "a region", output)
    if not bool((weights != 0).any()):
        raise TargetError(f"an empty region for the target '{what}'", "at least one voxel inside the output image")
    return weights


@dataclass(frozen=True, eq=False)
class Mean(AbstractTarget):
    """Mean of the output image over a region.

    Parameters
    ----------
    region
        A mask on the scan's grid (`Volume`), or weights (\\*space) on the output's grid. None: the whole image.
    channel
        Channel of the output image; for a segmentation, the class whose score is averaged.
    name
        How the region is called in a sidecar.
    """

    region: Region | None = None
    channel: int = 0
    name: str = "image"

    def value(self, output: Tensor) -> Tensor:
        image = _image(output, self.channel, self.label)
        if self.region is None:
            return image.flatten(1).mean(1)
        weights = _weights(self.region, image, self.label, output)
        return (image * weights).flatten(1).sum(1) / weights.sum()

    def check_axes(self, output: Tensor, n_space: int) -> None:
        if self.region is None:
            _whole_image(output, n_space, self.label)

    def on_grid(self, grid: Grid, scan: Grid | None = None) -> "Mean":
        return self if self.region is None else replace(self, region=_carry(self.region, grid))

    @property
    def label(self) -> str:
        return f"mean:{self.name}" + (f"@{self.channel}" if self.channel else "")


@dataclass(frozen=True, eq=False)
class Voxel(AbstractTarget):
    """One voxel of the output image.

    Parameters
    ----------
    index
        Voxel of the scan (i, j, k) when used through `regard.explain`; of the output tensor (\\*space) otherwise.
    mm
        Position in RAS mm instead of an index.
    channel
        Channel of the output image.
    name
        How the voxel is called in a sidecar; by default its index or position as given.
    """

    index: Sequence[int] | None = None
    mm: Sequence[float] | None = None
    channel: int = 0
    name: str = ""

    def value(self, output: Tensor) -> Tensor:
        image = _image(output, self.channel, self.label)
        if self.index is None:
            raise TargetError("a voxel given in mm on a bare tensor", "an index", "use regard.explain with a Volume")
        index = tuple(int(i) for i in self.index)
        while len(index) > image.ndim - 1 and index[-1] == 0:
            index = index[:-1]
        if len(index) != image.ndim - 1 or any(not 0 <= i < n for i, n in zip(index, image.shape[1:], strict=True)):
            lacking = len(index) == output.ndim - 1
            raise TargetError(
                f"voxel {index} of {_read_as(output)}",
                "one number per spatial axis, inside the output image",
                "keep the channel axis in the network: output[:, None]" if lacking else "choose another",
            )
        for i in reversed(index):
            image = image[..., i]
        return image

    def check_axes(self, output: Tensor, n_space: int) -> None:
        # A trailing 0 is the slice of a 2D image; of an output without a channel axis it would be a column.
        if self.index is not None and len(self.index) > output.ndim - 2:
            _whole_image(output, n_space, self.label)

    def on_grid(self, grid: Grid, scan: Grid | None = None) -> "Voxel":
        if self.mm is not None:
            world = self.mm
        elif scan is not None and self.index is not None:
            world = scan.to_world([*self.index, 0, 0][:3]).tolist()
        else:
            return self
        nearest = grid.to_index(world).round().astype(int)
        if (nearest < 0).any() or (nearest >= grid.shape).any():
            place = tuple(round(float(w), 2) for w in world)
            raise TargetError(f"the place {place} mm", "one inside the output image", "choose another")
        # The index on the output's grid would name another voxel of the scan.
        return replace(self, index=tuple(nearest.tolist()), mm=None, name=self._place)

    @property
    def _place(self) -> str:
        place = self.mm if self.index is None and self.mm is not None else self.index or ()
        kind = "voxel-mm" if self.index is None else "voxel"
        return self.name or f"{kind}:{','.join(f'{p:.7g}' for p in place)}"

    @property
    def label(self) -> str:
        return self._place + (f"@{self.channel}" if self.channel else "")


@dataclass(frozen=True, eq=False)
class Contrast(AbstractTarget):
    """Mean of the output over one region minus its mean over another."""

    positive: Mean
    negative: Mean

    def value(self, output: Tensor) -> Tensor:
        return self.positive.value(output) - self.negative.value(output)

    def check_axes(self, output: Tensor, n_space: int) -> None:
        self.positive.check_axes(output, n_space)
        self.negative.check_axes(output, n_space)

    def on_grid(self, grid: Grid, scan: Grid | None = None) -> "Contrast":
        return Contrast(self.positive.on_grid(grid, scan), self.negative.on_grid(grid, scan))

    @property
    def label(self) -> str:
        return f"contrast:{self.positive.name},{self.negative.name}"


@dataclass(frozen=True, eq=False)
class ErrorTo(AbstractTarget):
    """Mean squared difference of the output image to another image.

    Parameters
    ----------
    image
        The other image on the scan's grid (`Volume`) or (\\*space) on the output's grid.
    channel
        Channel of the output image.
    name
        How the image is called in a sidecar.
    """

    image: Region
    channel: int = 0
    name: str = "image"

    def value(self, output: Tensor) -> Tensor:
        predicted = _image(output, self.channel, self.label)
        other = _fitted(self.image, predicted, "an image", output)
        return (predicted - other).flatten(1).square().mean(1)

    def on_grid(self, grid: Grid, scan: Grid | None = None) -> "ErrorTo":
        return replace(self, image=_carry(self.image, grid))

    def unit(self, output_unit: str) -> str:
        return f"({output_unit})^2"

    @property
    def label(self) -> str:
        return f"error:{self.name}"


@dataclass(frozen=True, eq=False)
class EdgeStrength(AbstractTarget):
    """Sum of the output image's gradient magnitude over a region: the detector of local attribution maps.

    Notes
    -----
    Gu and Dong, CVPR 2021 (arXiv 2011.11036), D(I): what an output window's structure depends on.
    """

    region: Region | None = None
    channel: int = 0
    name: str = "image"

    def value(self, output: Tensor) -> Tensor:
        image = _image(output, self.channel, self.label)
        squares = torch.zeros_like(image)
        for axis in range(1, image.ndim):
            if image.shape[axis] > 1:
                pad = [0, 0] * (image.ndim - 1 - axis) + [0, 1]
                squares = squares + functional.pad(image.diff(dim=axis), pad).square()
        strength = (squares + 1e-12).sqrt()
        weights = 1.0 if self.region is None else _weights(self.region, image, self.label, output)
        return (strength * weights).flatten(1).sum(1)

    def check_axes(self, output: Tensor, n_space: int) -> None:
        if self.region is None:
            _whole_image(output, n_space, self.label)

    def on_grid(self, grid: Grid, scan: Grid | None = None) -> "EdgeStrength":
        return self if self.region is None else replace(self, region=_carry(self.region, grid))

    def unit(self, output_unit: str) -> str:
        return f"{output_unit} per voxel"

    @property
    def label(self) -> str:
        return f"edges:{self.name}"
