"""A model at one case as a function of intensities, and its invariances on the scan's grid."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from regard.core import recording
from regard.core.errors import CapabilityError, InputError, TargetError
from regard.core.quantity import Quantity
from regard.core.rows import rows_of, target_values
from regard.core.spatial import has_space, n_space, space
from regard.core.target import AbstractTarget
from regard.core.volume import Volume
from regard.models.case import PreparedCase

__all__ = ["CaseFunction", "crop"]


def crop(volume: Volume, size: int, centre: tuple[int, ...] | None = None) -> Volume:
    """A patch of ``size`` voxels along each axis (of a slice, along two), at its own place.

    Parameters
    ----------
    volume
        The scan.
    size
        Voxels a side.
    centre
        Voxel (i, j, k) in its middle; by default the image's. Moved inside where the patch would stick out.
    """
    if size < 8:
        raise InputError(f"a patch of {size} voxels", "at least 8")
    tensor, affine = volume.tensor, volume.affine.copy()
    for axis, n in enumerate(volume.shape):
        if n <= size:
            continue
        middle = n // 2 if centre is None or axis >= len(centre) else centre[axis]
        if not 0 <= middle < n:
            raise InputError(f"a patch around voxel {middle} of axis {axis}", f"0 to {n - 1}")
        start = min(max(0, middle - size // 2), n - size)
        tensor = tensor.narrow(axis + 1, start, size)
        affine[:3, 3] += affine[:3, axis] * start
    return Volume(tensor.clone(), affine, volume.unit, volume.source, volume.has_geometry, dict(volume.header))


@dataclass(frozen=True, eq=False)
class CaseFunction:
    """The first input of a prepared case in its own intensities, and the network as a function of it.

    Parameters
    ----------
    prepared
        The case.
    goal
        What is asked of the output; None: all of an image output.
    window
        Intensities that the network can see; None: all.
    layer
        The layer whose activation takes the place of the output, all its channels (Rombach et al. 2020, arXiv
        2008.01777); None: the output.

    Raises
    ------
    CapabilityError
        If the network has no gradients.
    InputError
        If there is a goal and a layer.
    """

    prepared: PreparedCase
    goal: AbstractTarget | None
    window: tuple[float, float] | None = None
    layer: str | None = None

    def __post_init__(self) -> None:
        if recording.GRADIENT not in recording.capabilities(self.prepared.network):
            raise CapabilityError(
                "a model without gradients", "one that can be differentiated", "give the network itself"
            )
        if self.goal is not None and self.layer is not None:
            raise InputError(
                "a target and a layer", "one of them", "leave out -t or --layer (target= or layer= in Python)"
            )

    def _constants(self) -> tuple[Tensor, Tensor]:
        """Scale and shift (1, channel or 1, \\*1) between intensities and the network's input."""
        x = self.prepared.inputs.tensors[0]
        one = self.prepared.parts[0].prepared
        assert one is not None
        shape = (1, -1, *[1] * len(space(x)))
        return one.scale.reshape(shape).to(x), one.shift.reshape(shape).to(x)

    @property
    def image(self) -> Tensor:
        """The first input (1, channel, \\*space) in its intensities."""
        scale, shift = self._constants()
        return (self.prepared.inputs.tensors[0] - shift) / scale

    def function(self, network: recording.Network) -> Callable[[Tensor], Tensor]:
        """Intensities (batch, channel, \\*space) to output images or values (batch,), other inputs held fixed.

        Parameters
        ----------
        network
            The case's network, as `regard.core.recording.intact` gives it.
        """
        scale, shift = self._constants()
        inputs = self.prepared.inputs
        asked = network if self.layer is None else recording.at_layer(network, self.layer)

        def of(image: Tensor) -> Tensor:
            seen = image if self.window is None else image.clamp(*self.window)
            others = [t.expand(len(image), *t.shape[1:]) for t in inputs.tensors[1:]]
            output = inputs.call(asked, (seen * scale + shift, *others))
            if self.layer is not None:
                # Features without places are watched one by one.
                output = rows_of(output, len(image))
                return output if has_space(output) else output.reshape(len(output), -1, *[1] * len(space(image)))
            if self.goal is not None:
                return target_values(self.goal, output, len(image), n_space(image))
            output = rows_of(output, len(image))
            if not has_space(output):
                raise TargetError("an output that is no image", "a target", "give one with -t")
            return output

        return of

    def home(self, image: Tensor) -> Volume:
        """An image (channel, \\*space) of the network's grid on the scan's; 0 where nothing was seen."""
        part = self.prepared.parts[0]
        placed = part.to_space(image[None])
        tensors = [torch.nan_to_num(part.bring_home(c[None], Quantity.SCORE)[0]) for c in placed]
        return part.scan.with_tensor(torch.cat(tensors).float().cpu())

    def sample(self, change: Tensor) -> Volume:
        """x~ on the scan's grid, of a change (channel, \\*space)."""
        scan = self.prepared.parts[0].scan
        home = self.home(change).tensor
        if len(home) != scan.n_channels:
            home = home.mean(0, keepdim=True).expand(scan.n_channels, -1, -1, -1)
        return scan.with_tensor(scan.tensor.cpu() + home)
