"""What every preparation gives: the network's input, its grid, and the ways between it and the scan."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from regard.core import recording
from regard.core.errors import ShapeError
from regard.core.recording import Network
from regard.core.volume import Grid, Volume

__all__ = ["AbstractCasePreparation", "AbstractPrepared", "PreparedNetwork"]


class AbstractPrepared(ABC):
    """A scan as a network takes it, with all that brings a map home.

    Attributes
    ----------
    tensor
        The network's input (1, channel, \\*space).
    grid
        Grid of that input; of a 2D network, one slice thick.
    scale, shift
        Frozen constants (1 or channel, 1, 1, 1): ``x = scale * intensity + shift`` where nothing is clipped.
    unit
        Unit of the intensities before normalising.
    warnings
        Sentences a reader must see.
    """

    tensor: Tensor
    grid: Grid
    scale: Tensor
    shift: Tensor
    unit: str
    warnings: tuple[str, ...]

    @abstractmethod
    def home(self, tensor: Tensor) -> Tensor:
        """Carry ``tensor`` (..., i, j, k) on `grid` to the scan by interpolation; NaN where nothing was seen."""

    @abstractmethod
    def adjoint(self, tensor: Tensor) -> tuple[Tensor, Tensor]:
        """Carry ``tensor`` (channel, i, j, k) on `grid` to the scan by the adjoint of the preparation.

        Returns
        -------
        home
            (channel, i, j, k) on the scan's grid, float64; its total is kept but for ``outside``.
        outside
            (channel,), the part of the total that lay on padding.
        """

    @abstractmethod
    def carried(self, tensor: Tensor) -> Tensor:
        """Carry ``tensor`` (channel, i, j, k) from the scan to `grid` by interpolation; 0 off the scan."""

    @abstractmethod
    def with_reference(self, volume: Volume) -> Tensor:
        """Prepare another scan with its own constants on the same network grid, (1, channel, \\*space)."""

    @abstractmethod
    def through(self, scan: Tensor) -> Tensor:
        """Prepare other intensities (channel, i, j, k) of the scan's grid, (1, channel, \\*space); differentiable."""

    def to_space(self, tensor: Tensor) -> Tensor:
        """Network tensor (batch, channel, \\*space) as (batch, channel, i, j, k) on `grid`.

        Raises
        ------
        ShapeError
            If it is not on the network's grid.
        """
        if tuple(tensor.shape[2:]) != tuple(self.tensor.shape[2:]):
            raise ShapeError(f"a tensor of shape {tuple(tensor.shape)}", f"space {tuple(self.tensor.shape[2:])}")
        return tensor.reshape(*tensor.shape[:2], *self.grid.shape)

    def to_network(self, tensor: Tensor) -> Tensor:
        """Image (channel, i, j, k) or (batch, channel, i, j, k) on `grid` as network tensor (batch, channel, \\*space).

        Raises
        ------
        ShapeError
            If it is not on `grid`.
        """
        if tuple(tensor.shape[-3:]) != self.grid.shape:
            raise ShapeError(f"a tensor of shape {tuple(tensor.shape)}", f"(channel, {self.grid.shape})")
        return tensor.reshape(-1, tensor.shape[-4], *self.tensor.shape[2:])

    def as_function(self) -> "PreparedNetwork":
        """The steps alone as a differentiable module: scan (batch, channel, i, j, k) to network input."""
        return PreparedNetwork(nn.Identity(), self)


class AbstractCasePreparation(ABC):
    """What is done to all images of a case before a network sees them."""

    @abstractmethod
    def prepare(self, scans: Mapping[str, Volume]) -> dict[str, AbstractPrepared]:
        """Prepare the scans of a case, by their names.

        Raises
        ------
        InputError
            If a scan does not fit.
        """

    def references(self, prepared: Sequence[AbstractPrepared], volumes: Sequence[Volume]) -> tuple[Tensor, ...]:
        """Another case's scans on the grids of ``prepared``, by their own constants, one tensor per input."""
        return tuple(p.with_reference(v) for p, v in zip(prepared, volumes, strict=True))


class PreparedNetwork(nn.Module):
    """A network with its preparation before it: takes scans (batch, channel, i, j, k), with constants that follow them.

    Explaining it explains the whole pipeline; gradients pass through resampling, clip and normalisation.

    Parameters
    ----------
    network
        Takes what the preparation makes.
    prepared
        A prepared scan, whose grids are used.
    """

    def __init__(self, network: Network, prepared: AbstractPrepared) -> None:
        super().__init__()
        self.network = network
        self._prepared = prepared

    @property
    def capabilities(self) -> frozenset[str]:
        """What the network can do."""
        return recording.capabilities(self.network)

    def forward(self, scan: Tensor) -> object:
        """Prepare each scan of the batch and run the network."""
        return self.network(torch.cat([self._prepared.through(x) for x in scan]))
