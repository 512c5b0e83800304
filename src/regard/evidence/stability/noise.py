"""Whether a map stays when the image is taken once more with its own noise."""

from typing import ClassVar

import torch
from torch import Tensor

from regard.core import randomness
from regard.core.errors import InputError
from regard.core.spatial import space_axes
from regard.evidence.again import explain_again
from regard.evidence.measure import AbstractMeasure, Direction, Exhibit, Measured
from regard.evidence.sanity.similarity import correlation

__all__ = ["NoiseStability", "noise_level"]

_NORMAL_MAD = 1.482602218505602


def noise_level(x: Tensor) -> Tensor:
    """Standard deviation of the noise in one image, per channel, from what its Laplacian leaves.

    The Laplacian, a sum of second differences over the d axes of at least three voxels, takes out what is linear; under
    white noise of deviation s it has deviation s sqrt(4 d^2 + 2 d). That is read from the median absolute
    deviation, which edges move little. Voxels at which the Laplacian is exactly 0, as in cut-out air, are left out.

    Parameters
    ----------
    x
        Image (1, channel, \\*space).

    Returns
    -------
    Tensor
        Standard deviation (channel,), float64; 0 where there is none to be seen.

    Notes
    -----
    After Immerkaer 1996, Computer Vision and Image Understanding 64(2), with the median in place of the mean.
    """
    exact = x.detach().double().cpu()
    axes = [axis for axis in space_axes(exact) if exact.shape[axis] > 2]
    laplacian = torch.zeros_like(_inner(exact, axes))
    for axis in axes:
        others = [a for a in axes if a != axis]
        n = exact.shape[axis]
        line = _inner(exact, others)
        laplacian += line.narrow(axis, 0, n - 2) - 2 * line.narrow(axis, 1, n - 2) + line.narrow(axis, 2, n - 2)
    gain = (4 * len(axes) ** 2 + 2 * len(axes)) ** 0.5
    levels = []
    for channel in laplacian[0]:
        seen = channel[channel != 0]
        levels.append(_NORMAL_MAD * float((seen - seen.median()).abs().median()) / gain if len(seen) else 0.0)
    return torch.tensor(levels, dtype=torch.float64)


def _inner(x: Tensor, axes: list[int]) -> Tensor:
    for axis in axes:
        x = x.narrow(axis, 1, x.shape[axis] - 2)
    return x


class NoiseStability(AbstractMeasure):
    """How far the map moves when noise of the image's own level is added: mean over draws of 1 - Pearson's correlation.

    0 for a map that does not move, 1 for one that has nothing to do with the first. The relative norm of the difference
    stands in the notes. NaN where the image shows no noise, or a map is constant.

    Parameters
    ----------
    n_draws
        Draws of noise.
    level
        Multiple of the image's own noise (`noise_level`).
    """

    direction: ClassVar[Direction] = "lower"
    family: ClassVar[str] = "stable"
    needs: ClassVar[frozenset[str]] = frozenset({"explain"})

    def __init__(self, n_draws: int = 4, level: float = 1.0) -> None:
        if n_draws < 1 or not level > 0:
            raise InputError(f"{n_draws} draws at level {level}", "at least one, and a level above 0")
        self.n_draws, self.level = n_draws, level

    def measure(self, exhibit: Exhibit) -> Measured:
        if exhibit.blank:
            return Measured.undefined("the map is zero everywhere")
        x, relevance = exhibit.x, exhibit.relevance.detach().double().cpu()
        sigma = noise_level(x)
        notes = {"sigma": sigma.tolist(), "n_draws": self.n_draws}
        if not bool((sigma > 0).any()):
            return Measured.undefined("the image shows no noise", notes=notes)
        width = self.level * sigma.reshape(1, -1, *[1] * len(space_axes(x)))
        moved, norms = [], []
        for k in range(self.n_draws):
            noise = randomness.normal(x, exhibit.seed, exhibit.case, f"noise-stability/{k}").double()
            again = explain_again(exhibit, x + (noise * width.to(noise.device)).to(x))
            moved.append(1 - correlation(relevance, again))
            norms.append(float((again - relevance).norm() / relevance.norm()))
        notes["relative norm"] = sum(norms) / len(norms)
        return Measured(sum(moved) / len(moved), "1", notes, {"each draw": torch.tensor(moved, dtype=torch.float64)})
