"""From a scan to the network's input: a new tensor, a new affine and frozen constants, so that maps come home.

Every step is linear interpolation between grids of parallel axes, a clip, or one scale and shift.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from regard.core.errors import ReferenceInputError
from regard.core.foreground import background_level
from regard.core.geometry import AxisResampling, resample
from regard.core.spatial import along
from regard.core.volume import Grid, Volume
from regard.models.card import InputSpec
from regard.models.intensities import check_channels, check_unit, constants, fit_channels
from regard.models.leads import at_card_leads
from regard.models.levels import at_card_levels
from regard.models.network_grid import network_grid
from regard.models.prepared import AbstractCasePreparation, AbstractPrepared, PreparedNetwork
from regard.models.training_range import outside_training
from regard.models.view import check_view, share_of_image, view_warnings

__all__ = ["CardPreparation", "Preparation", "Prepared", "PreparedNetwork", "outside_training"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Preparation:
    """What is done to a scan before a network sees it.

    Parameters
    ----------
    spec
        What the network's input must look like, from its card.
    """

    spec: InputSpec

    def prepare(self, volume: Volume) -> "Prepared":
        """Prepare a scan; its normalising constants are computed once, here, and stay.

        Raises
        ------
        InputError
            If unit, channels, axes or contrast do not fit the network.
        """
        volume = at_card_leads(volume, self.spec)
        check_unit(volume, self.spec)
        check_channels(volume, self.spec)
        volume, told = at_card_levels(volume, self.spec)
        grid = network_grid(volume, self.spec)
        resampling = AxisResampling(volume.grid, grid)
        check_view(volume, self.spec, resampling)
        x, scale, shift = self.transform(volume.tensor.double(), resampling)
        warnings = (*told, *view_warnings(volume, self.spec, resampling, x))
        return Prepared(
            tensor=_to_network(x.float(), self.spec.n_axes),
            grid=grid,
            resampling=resampling,
            scale=scale,
            shift=shift,
            unit=self.spec.unit if volume.unit == "intensity" else volume.unit,
            warnings=warnings,
            preparation=self,
            has_geometry=volume.has_geometry,
        )

    def transform(
        self, tensor: Tensor, resampling: AxisResampling, present: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Carry out all steps on a tensor; differentiable, with constants that follow it.

        Parameters
        ----------
        tensor
            Scan (channel, i, j, k) on the resampling's source grid.
        resampling
            From there to the network's grid.
        present
            Which voxels (i, j, k) of the source grid hold the image; None for all.

        Returns
        -------
        x
            (channel, i, j, k) on the network's grid, normalised.
        scale, shift
            (1 or channel, 1, 1, 1): ``x = scale * intensity + shift`` within the window.
        """
        x = fit_channels(tensor, self.spec.channels)
        inside = x if present is None else x[:, present]
        if self.spec.is_signal:
            return self._signal(x, resampling, present)
        lowest = inside.min() if self.spec.window is None else tensor.new_tensor(self.spec.window[0])
        if present is not None:
            x = torch.where(present, x, lowest)
        share = share_of_image(resampling).to(x)
        if self.spec.window is None and bool((share < 1).any()):
            # A stray voxel below the background is not what the image is padded with.
            level = background_level(inside)
            lowest = level if bool(level > lowest) else lowest
        seen = share > 0.5
        if present is not None:
            seen = seen & (resampling.apply(present.double()).to(share.device) > 0.5)
        whole = self.spec.rounding == "whole"
        x = (_in_whole_numbers(x, resampling) if whole else resampling.apply(x)) + lowest * (1 - share)
        if self.spec.window is not None:
            x = x.clamp(*self.spec.window)
        scale, shift = constants(x, seen, self.spec)
        return x * scale + shift, scale, shift

    def _signal(self, x: Tensor, resampling: AxisResampling, present: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """As `transform`, of leads (lead, sample, 1, 1): off the recording each is at its median, its baseline."""
        rest = (x if present is None else x[:, present]).flatten(1).median(1).values.reshape(-1, 1, 1, 1)
        share = share_of_image(resampling).to(x)
        seen = share > 0.5
        if present is not None:
            x = torch.where(present, x, rest)
            seen = seen & (resampling.apply(present.double()).to(share.device) > 0.5)
        x = resampling.apply(x) + rest * (1 - share)
        x = x if self.spec.window is None else x.clamp(*self.spec.window)
        scale, shift = constants(x, seen, self.spec)
        return x * scale + shift, scale, shift


@dataclass(frozen=True, eq=False)
class Prepared(AbstractPrepared):
    """A scan as a network takes it, with all that brings a map home.

    Parameters
    ----------
    tensor
        The network's input (1, channel, \\*space), float32; its axes follow the card's orientation.
    grid
        Grid of that input; of a 2D network, one slice thick.
    resampling
        From the scan's grid to it.
    scale, shift
        Frozen normalisation (1 or channel, 1, 1, 1): ``x = scale * intensity + shift`` within the window.
    unit
        Unit of the intensities before normalising.
    warnings
        Sentences a reader must see.
    preparation
        What was done.
    has_geometry
        Whether the scan's grid is in mm.
    """

    tensor: Tensor
    grid: Grid
    resampling: AxisResampling
    scale: Tensor
    shift: Tensor
    unit: str
    warnings: tuple[str, ...]
    preparation: Preparation
    has_geometry: bool = True

    def home(self, tensor: Tensor) -> Tensor:
        """Carry ``tensor`` (..., i, j, k) on `grid` to the scan by interpolation; NaN where nothing was seen."""
        return self.resampling.home(tensor)

    def adjoint(self, tensor: Tensor) -> tuple[Tensor, Tensor]:
        """Carry ``tensor`` (..., i, j, k) on `grid` to the scan by the exact adjoint, and what lay off the scan."""
        return self.resampling.adjoint(tensor)

    def carried(self, tensor: Tensor) -> Tensor:
        """Carry ``tensor`` (..., i, j, k) from the scan to `grid` by interpolation; 0 off the scan."""
        return self.resampling.apply(tensor)

    def through(self, scan: Tensor) -> Tensor:
        """Prepare other intensities (channel, i, j, k) of the scan's grid, (1, channel, \\*space); differentiable."""
        x, _, _ = self.preparation.transform(scan, self.resampling)
        return _to_network(x, self.preparation.spec.n_axes)

    def with_reference(self, volume: Volume) -> Tensor:
        """Prepare another scan with its own constants on the same network grid.

        A scan with geometry is first carried to this one's grid through world coordinates; a picture without geometry
        has no place of its own and is fitted by the card alone.

        Returns
        -------
        Tensor
            (1, channel, \\*space), float32.

        Raises
        ------
        ReferenceInputError
            If the two do not overlap, or do not give inputs of the same shape.
        """
        steps = self.preparation
        volume = at_card_leads(volume, steps.spec)
        check_unit(volume, steps.spec)
        check_channels(volume, steps.spec)
        volume, _ = at_card_levels(volume, steps.spec)
        if not (self.has_geometry and volume.has_geometry):
            alone = steps.prepare(volume).tensor
            if alone.shape != self.tensor.shape:
                raise ReferenceInputError(
                    f"a reference that gives an input of {tuple(alone.shape)}",
                    f"{tuple(self.tensor.shape)}, as of the image itself",
                    "give a reference of the image's shape",
                )
            return alone
        source = self.resampling.source
        if volume.grid.matches(source):
            x, _, _ = steps.transform(volume.tensor.double(), self.resampling)
            return _to_network(x.float(), steps.spec.n_axes)
        there = resample(volume.with_tensor(torch.ones(1, *volume.shape), unit=""), source).tensor[0] > 0.5
        on_grid = resample(volume, source, fill=float(volume.tensor.min())).tensor.double()
        overlap = (self.resampling.apply(there.double()) > 0.5).double().mean()
        if not bool(overlap > 0):
            raise ReferenceInputError(
                "a reference that lies nowhere on what the network sees of the image",
                "two scans of the same place",
                "register the reference to the image first",
            )
        if overlap < 0.5:
            logger.warning("the reference covers %.0f %% of what the network sees of the image", 100 * float(overlap))
        x, _, _ = steps.transform(on_grid, self.resampling, there)
        return _to_network(x.float(), steps.spec.n_axes)


class CardPreparation(AbstractCasePreparation):
    """Each scan prepared by itself, as the model's card says.

    Parameters
    ----------
    specs
        The card's inputs.
    """

    def __init__(self, specs: Sequence[InputSpec]) -> None:
        self.specs = tuple(specs)

    def prepare(self, scans: Mapping[str, Volume]) -> dict[str, AbstractPrepared]:
        """Prepare the scans of a case, by their names."""
        return {spec.name: Preparation(spec).prepare(scans[spec.name]) for spec in self.specs}


def _to_network(x: Tensor, n_axes: int) -> Tensor:
    return x.reshape(1, *x.shape[: 1 + n_axes]).contiguous()


def _in_whole_numbers(x: Tensor, resampling: AxisResampling) -> Tensor:
    """Resample ``x`` (channel, i, j, k) and round after each axis, the last one first, as Pillow does with 8 bits.

    The derivative is that without rounding.
    """
    x = x.permute(0, *[1 + axis for axis in resampling.order])
    for axis, matrix in reversed(list(enumerate(resampling.matrices(), start=1))):
        x = along(x, matrix, axis)
        x = x + ((x + 0.5).floor() - x).detach()
    return x
