"""Surrogates: maps with the values and the smoothness of another, at places that chance chose."""

import torch
from torch import Tensor

from regard.core import randomness
from regard.core.sorting import order_of
from regard.core.spatial import space_axes

__all__ = ["Surrogates", "surrogate"]


class Surrogates:
    """Surrogates of one map; what does not depend on the draw is made once.

    Parameters
    ----------
    relevance
        Map (1, 1, \\*space).
    """

    def __init__(self, relevance: Tensor) -> None:
        self._like = relevance
        exact = relevance.detach().double().cpu()
        self._axes = space_axes(exact)
        # Real images: half of the transform holds all of it.
        self._amplitudes = torch.fft.rfftn(exact, dim=self._axes).abs()
        self._ordered = exact.flatten().sort().values

    def draw(self, *, seed: int = 0, case: str = "", draw: int | str = 0, n_rounds: int = 6) -> Tensor:
        """One surrogate, as `surrogate` says, (1, 1, \\*space)."""
        shape = self._like.shape
        found = randomness.normal(torch.empty(shape, dtype=torch.float64), seed, case, f"surrogate {draw}")
        for _ in range(n_rounds):
            phase = torch.fft.rfftn(found, dim=self._axes)
            phase = torch.where(phase == 0, 1.0, phase / phase.abs().clamp(min=1e-300))
            smooth = torch.fft.irfftn(self._amplitudes * phase, s=[shape[a] for a in self._axes], dim=self._axes)
            found = torch.empty_like(self._ordered)
            found[order_of(smooth.flatten())] = self._ordered
            found = found.reshape(shape)
        return found.to(self._like)


def surrogate(relevance: Tensor, *, seed: int = 0, case: str = "", draw: int | str = 0, n_rounds: int = 6) -> Tensor:
    """A map with the values and the smoothness of another, at places that chance chose.

    From noise on, the amplitudes of the Fourier transform are replaced by the map's own, which gives its smoothness,
    and then the values, in their order, by the map's own: in turn, so that the values are kept exactly and the spectrum
    nearly. Smooth maps come out a little rougher than they were.

    Parameters
    ----------
    relevance
        Map (1, 1, \\*space).
    seed, case, draw
        Key of the draw.
    n_rounds
        Turns; the first alone leaves smooth maps rougher than they were.

    Returns
    -------
    Tensor
        Map (1, 1, \\*space), of the map's type and device.

    Notes
    -----
    Schreiber and Schmitz 1996, Physical Review Letters 77, 635, for any number of axes. The transform is periodic: a
    map that differs much between opposite borders gets a rougher surrogate.
    """
    return Surrogates(relevance).draw(seed=seed, case=case, draw=draw, n_rounds=n_rounds)
