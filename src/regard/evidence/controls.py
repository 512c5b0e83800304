"""Maps that a good explanation has to beat: each knows something that is cheap to know, and none knows the answer.

White noise is not among them: any smooth map beats it. All take and give maps (1, 1, \\*space) on the network's input
grid, and every draw is keyed by seed, case and number.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from regard.core import recording
from regard.core.errors import CapabilityError
from regard.core.recording import LAYERS, Network
from regard.core.spatial import blur, interpolate, space, space_axes
from regard.core.target import AbstractTarget
from regard.evidence.sanity.randomisation import randomise
from regard.evidence.surrogate import Surrogates, surrogate
from regard.explainers.cam.random_cam import RandomCAM

__all__ = [
    "CONTROLS",
    "Control",
    "Surrogates",
    "centred_gaussian",
    "cohort_mean",
    "displaced",
    "edges",
    "image",
    "random_cam",
    "randomised",
    "resized",
    "surrogate",
]

REACH = 8
"""Maps are displaced by one part in this many of an axis, and by 2 voxels at least."""


@dataclass(frozen=True)
class Control:
    """What a control is.

    Parameters
    ----------
    line
        One line for people.
    knows
        What it knows: ``"nothing"``, the ``"image"``, the ``"map"``, the ``"cohort"`` or the ``"network"``.
    """

    line: str
    knows: str


CONTROLS: Mapping[str, Control] = {
    "surrogate": Control("the map's own spectrum and values with random phases: as smooth, elsewhere", "map"),
    "displaced": Control("the map itself, moved by an eighth of the image along an axis; the best way counts", "map"),
    "other patient": Control("the same method's map of another patient", "cohort"),
    "cohort mean": Control("the mean of the same method's maps of the other cases", "cohort"),
    "centred gaussian": Control("a blob in the middle; the better sign counts", "nothing"),
    "edges": Control("size of the image's gradient; the better sign counts", "image"),
    "image": Control("the image's own intensities; the better sign counts", "image"),
    "random-cam": Control("the layer's activations with random channel weights; the better sign counts", "network"),
    "randomised network": Control("the same method on a copy of the network with drawn weights", "image"),
}
"""Name to what it is."""


def displaced(relevance: Tensor) -> list[Tensor]:
    """The map moved both ways along each axis of at least 4 voxels; what enters repeats the border."""
    moved = []
    for axis in space_axes(relevance):
        n = relevance.shape[axis]
        if n < 4:
            continue
        reach = max(2, round(n / REACH))
        for way in (-reach, reach):
            places = (torch.arange(n, device=relevance.device) - way).clamp(0, n - 1)
            moved.append(relevance.index_select(axis, places))
    return moved


def centred_gaussian(x: Tensor) -> Tensor:
    """A blob in the middle of ``x`` (1, channel, \\*space), with a sixth of each axis as its standard deviation."""
    found = torch.ones_like(x[:, :1])
    for axis in space_axes(x):
        n = x.shape[axis]
        offsets = torch.arange(n, device=x.device, dtype=x.dtype) - (n - 1) / 2
        shape = [1] * x.ndim
        shape[axis] = n
        found = found * torch.exp(-(offsets**2) / (2 * (n / 6) ** 2)).reshape(shape)
    return found


def edges(x: Tensor, *, sigma: float = 0.0) -> Tensor:
    """Size of the gradient of ``x`` (1, channel, \\*space) over its channels, after a blur of ``sigma`` voxels."""
    axes = [a for a in space_axes(x) if x.shape[a] > 1]
    smoothed = blur(x.double(), sigma) if sigma > 0 else x.double()
    steps = [g.square().sum(1, keepdim=True) for g in torch.gradient(smoothed, dim=axes)]
    return torch.stack(steps).sum(0).sqrt().to(x)


def image(x: Tensor) -> Tensor:
    """Intensities of ``x`` (1, channel, \\*space) above their smallest, over its channels."""
    summed = x.sum(1, keepdim=True)
    return summed - summed.min()


def cohort_mean(maps: Sequence[Tensor], like: Tensor) -> Tensor:
    """Mean of the other cases' maps, each brought to the size of ``like``."""
    return torch.stack([resized(m, like) for m in maps]).mean(0)


def resized(relevance: Tensor, like: Tensor) -> Tensor:
    """Another case's map at the size, type and device of ``like`` (1, 1, \\*space)."""
    return interpolate(relevance.to(like), space(like))


def random_cam(
    network: Network,
    x: Tensor,
    target: AbstractTarget,
    *,
    layer: str | None,
    seed: int,
    case: str,
    reshape: str | None = None,
) -> Tensor:
    """Activations of the layer with random channel weights, as a class activation map shows them.

    Raises
    ------
    CapabilityError
        If the network has no layers.
    """
    found: Tensor = RandomCAM(network, layer=layer, reshape=reshape).attribute(x, target, seed=seed, case=case)
    return found


def randomised(network: Network, *, seed: int, case: str, draw: int | str) -> nn.Module:
    """A copy of the network whose weights are drawn anew.

    All layers at once, as `regard.evidence.sanity.randomisation.randomise` draws them (Adebayo et al., NeurIPS 2018).

    Raises
    ------
    CapabilityError
        If it is no module, or has no weights.
    """
    plain = recording.unwrap(network)
    if LAYERS not in recording.capabilities(network) or not isinstance(plain, nn.Module):
        raise CapabilityError(f"a network of type {type(plain).__name__} to randomise", "a torch.nn.Module")
    found = copy.deepcopy(plain)
    layers = [name for name, m in found.named_modules() if any(True for _ in m.parameters(recurse=False))]
    if not layers:
        raise CapabilityError(f"a network of type {type(plain).__name__} without weights", "weights to draw anew")
    randomise(found, layers, seed, f"{case}/{draw}")
    return found
