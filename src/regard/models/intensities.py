"""How intensities are brought to a network: channels, units, and one linear scale with frozen constants."""

import math

import torch
from torch import Tensor

from regard.core.errors import InputError, ShapeError
from regard.core.foreground import background_level
from regard.core.volume import Volume
from regard.models.card import InputSpec, QuantileRange, Standard, WindowRange

__all__ = ["check_channels", "check_unit", "constants", "fit_channels", "line_between", "quantile"]

_LUMINANCE = (0.299, 0.587, 0.114)
_UNKNOWN = "intensity"


def check_unit(volume: Volume, spec: InputSpec) -> None:
    """Refuse an image whose unit is known and is not the one that the network was made for.

    Raises
    ------
    InputError
        If the units differ.
    """
    got, wanted = volume.unit.strip().casefold(), spec.unit.strip().casefold()
    if _UNKNOWN not in (got, wanted) and got != wanted:
        raise InputError(
            f"an image in {volume.unit}", f"{spec.unit} for the input '{spec.name}'", "give an image in that unit"
        )


def check_channels(volume: Volume, spec: InputSpec) -> None:
    """Refuse an image of several volumes where the network takes another number of channels.

    Only a picture's three channels are colours, which have a luminance. Three echoes, or T1, T2 and FLAIR in one file,
    have none: which of them is meant has to be told.

    Raises
    ------
    ShapeError
        If the number of channels is neither the network's nor one that a picture can be brought to.
    """
    have, wanted = volume.n_channels, spec.channels
    if have == wanted or (have == 1 and wanted == 3) or (have == 3 and wanted == 1 and not volume.has_geometry):
        return
    if have > 1 and wanted == 1:
        do = f"choose one volume with --volume N (0 to {have - 1}; in Python read(path, volume=N)), "
        do += "or give each input of the network a file of its own with --input NAME=FILE"
    else:
        do = f"give an image of {wanted} volumes, and networks of several inputs each file with --input NAME=FILE "
        do += "(in Python a mapping of name to scan)"
    raise ShapeError(f"an image of {have} channels", f"{wanted} for the input '{spec.name}'", do)


def fit_channels(x: Tensor, n_channels: int) -> Tensor:
    """Fit the channels of ``x`` (channel, i, j, k): one is repeated for three, three colours become their luminance.

    The luminance is that of ITU-R BT.601, as pictures are usually turned to grey. That the channels are colours has
    been checked (`check_channels`).

    Raises
    ------
    ShapeError
        If neither applies and the number differs.
    """
    have = x.shape[0]
    if have == n_channels:
        return x
    if have == 1 and n_channels == 3:
        return x.expand(3, *x.shape[1:])
    if have == 3 and n_channels == 1:
        return sum(w * c for w, c in zip(_LUMINANCE, x.split(1), strict=True))  # type: ignore[return-value]
    raise ShapeError(
        f"an image of {have} channels", f"{n_channels} for this network", "choose or join the channels first"
    )


def quantile(values: Tensor, at: float) -> Tensor:
    """Quantile of ``values`` (n,), linear between neighbours; differentiable, of any size."""
    place = at * (values.numel() - 1)
    low = int(place)
    ordered = values.sort().values
    high = min(low + 1, values.numel() - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


def constants(x: Tensor, seen: Tensor, spec: InputSpec) -> tuple[Tensor, Tensor]:
    """Scale and shift that bring ``x`` to the network: ``x_net = scale * x + shift``.

    Parameters
    ----------
    x
        Clipped image (channel, i, j, k) on the network's grid.
    seen
        Which of its voxels (i, j, k) lie on the scan; only they count.
    spec
        What the network wants.

    Returns
    -------
    scale, shift
        Each (1, 1, 1, 1), or (channel, 1, 1, 1) when the card has numbers per channel.

    Raises
    ------
    InputError
        If the image has no contrast to scale by.
    """
    rule = spec.normalise
    if isinstance(rule, Standard):
        mean, std = (_numbers(v, x) for v in (rule.mean, rule.std))
        return 1 / std, -mean / std
    if isinstance(rule, WindowRange):
        assert spec.window is not None
        scale = _numbers((rule.high - rule.low) / (spec.window[1] - spec.window[0]), x)
        return scale, rule.low - scale * spec.window[0]
    if rule == "none":
        return _numbers(1.0, x), _numbers(0.0, x)

    values = x[:, seen].flatten()
    if isinstance(rule, QuantileRange):
        low, high = (quantile(values, q) for q in rule.quantiles)
    elif rule == "minmax":
        low, high = values.min(), values.max()
    else:
        if rule == "zscore-foreground":
            values = values[values > (background_level(values) if spec.window is None else spec.window[0])]
        if values.numel() == 0:
            raise InputError("an image of background only", "contrast, to normalise it", "choose another image")
        low = values.mean()
        high = low + values.std(correction=0)
    if not bool(high > low):
        raise InputError(
            f"an image of constant intensity {low.item():g} within the network's view",
            f"contrast, to normalise it ({rule if isinstance(rule, str) else 'quantiles'})",
            "choose another image",
        )
    scale = (1 / (high - low)).reshape(1, 1, 1, 1)
    return scale, -low * scale


def _numbers(values: float | tuple[float, ...], like: Tensor) -> Tensor:
    values = values if isinstance(values, tuple) else (values,)
    return torch.tensor(values, dtype=like.dtype, device=like.device).reshape(-1, 1, 1, 1)


def line_between(before: Tensor, after: Tensor) -> tuple[Tensor, Tensor]:
    """Scale and shift that take an image to what became of it, voxel by voxel; NaN where no line does.

    Looked at are all voxels; if they lie on no line, those that are not zero, those that were not clipped, and both.

    Parameters
    ----------
    before, after
        Images (channel, \\*space).

    Returns
    -------
    scale, shift
        Each (channel, 1, 1, 1), float64.
    """
    lines = [_line_of(x.double().flatten(), y.double().flatten()) for x, y in zip(before, after, strict=True)]
    found = torch.tensor(lines, dtype=torch.float64)
    return found[:, 0].reshape(-1, 1, 1, 1), found[:, 1].reshape(-1, 1, 1, 1)


def _line_of(x: Tensor, y: Tensor) -> tuple[float, float]:
    free = (y > y.min()) & (y < y.max())
    every = torch.ones_like(free)
    reach = float(y.max() - y.min()) + 1e-12
    for looked in (every, x != 0, free, free & (x != 0)):
        a, b = x[looked], y[looked]
        if a.numel() < 2 or float(a.max()) == float(a.min()):
            continue
        centre = a.mean()
        scale = ((a - centre) * (b - b.mean())).sum() / (a - centre).square().sum()
        shift = b.mean() - scale * centre
        if float((scale * a + shift - b).abs().max()) <= 1e-4 * reach:
            return float(scale), float(shift)
    return math.nan, math.nan
