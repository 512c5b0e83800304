"""Surrogates: maps with the values and the smoothness of another, at places that chance chose."""

import torch
from torch import Tensor

from regard.core import randomness
from regard.core.spatial import space_axes

__all__ = ["surrogate"]


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
    exact, axes = relevance.detach().double().cpu(), space_axes(relevance)
    # Real images: half of the transform holds all of it.
    amplitudes = torch.fft.rfftn(exact, dim=axes).abs()
    ordered = exact.flatten().sort().values
    found = randomness.normal(exact, seed, case, f"surrogate {draw}")
    for _ in range(n_rounds):
        phase = torch.fft.rfftn(found, dim=axes)
        phase = torch.where(phase == 0, 1.0, phase / phase.abs().clamp(min=1e-300))
        smooth = torch.fft.irfftn(amplitudes * phase, s=[exact.shape[a] for a in axes], dim=axes)
        found = torch.empty_like(ordered)
        found[smooth.flatten().argsort(stable=True)] = ordered
        found = found.reshape(exact.shape)
    return found.to(relevance)
