"""Colours of a map: the one transfer function from number to colour, which figures and pages share.

Hue says the sign (blue below zero, orange above; distinct to colour-blind readers), opacity says the size, so that
anatomy stays visible where a map says little. Dividing by the scale happens here, for the eye alone.
"""

from collections.abc import Hashable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from regard.core.explanation import Explanation
from regard.core.quantity import Quantity, Sign

if TYPE_CHECKING:
    from matplotlib.colors import ListedColormap

__all__ = [
    "GROUND",
    "UNRESOLVED",
    "colormap",
    "common_scales",
    "full_colour",
    "is_signed",
    "look",
    "outline_colour",
    "paint",
    "scale_key",
    "scale_of",
    "table",
]

PERCENTILE = 99.5
NEGLIGIBLE = 1e-3
UNRESOLVED = (168, 172, 178)
"""Grey of a voxel whose sign is within its uncertainty."""
DULLED = 0.6
"""What is left of its opacity."""
GROUND = 0.25
"""Grey, 0 to 1, under a colour bar and under a map that lies on no image."""
STRIPE, STRIPE_ALPHA = (158, 163, 173), 0.6
"""Colour and opacity of the stripes over what the network did not see."""
PERIOD, WIDTH = 8, 2
"""Of the stripes, in pixels of the picture."""
DENSEST = 0.88
"""Opacity of the largest values; below 1, so that anatomy shows through everywhere."""

_OUTLINES = ("#7fd34e", "#f4f6f8", "#ff7ad1", "#c9a4ff", "#ffe14d")
_BELOW = ((40, 92, 196), (38, 132, 240), (120, 214, 255))
_ABOVE = ((196, 84, 16), (246, 134, 18), (255, 212, 92))
_UNSIGNED = ((108, 24, 130), (206, 52, 112), (250, 130, 60), (252, 226, 120))


def _ramp(stops: tuple[tuple[int, int, int], ...], n: int) -> np.ndarray:
    at = np.linspace(0, 1, n)
    return np.stack([np.interp(at, np.linspace(0, 1, len(stops)), channel) for channel in zip(*stops, strict=True)], -1)


def table(signed: bool) -> np.ndarray:
    """Colour table (255, 4), uint8 red green blue alpha.

    Row 127 is zero of a signed map and row 0 zero of an unsigned one; both are transparent.
    """
    if signed:
        colours = np.concatenate([_ramp(_BELOW, 128)[:0:-1], _ramp(_ABOVE, 128)])
        size = np.abs(np.linspace(-1, 1, 255))
    else:
        colours, size = _ramp(_UNSIGNED, 255), np.linspace(0, 1, 255)
    return np.concatenate([colours, 255 * DENSEST * size[:, None] ** 0.75], -1).round().astype(np.uint8)


def look(signed: bool) -> dict[str, Any]:
    """The table and all else that ``colours.js`` needs to draw as `paint` does, as plain values ready for JSON."""
    return {
        "table": table(signed).ravel().tolist(),
        "signed": signed,
        "unresolved": UNRESOLVED,
        "dulled": DULLED,
        "stripe": {"colour": STRIPE, "alpha": STRIPE_ALPHA, "period": PERIOD, "width": WIDTH},
    }


def colormap(signed: bool, *, ground: float = GROUND) -> "ListedColormap":
    """The table laid over one grey, 0 to 1, for bars and for pictures without an image below."""
    from matplotlib.colors import ListedColormap  # a page needs no matplotlib

    rows = table(signed) / 255.0
    return ListedColormap(ground * (1 - rows[:, 3:]) + rows[:, :3] * rows[:, 3:], name="regard")


def outline_colour(number: int) -> str:
    """Colour of the border of the ``number``-th region drawn over a map, from 0."""
    return _OUTLINES[number % len(_OUTLINES)]


def is_signed(explanation: Explanation) -> bool:
    """Whether the map needs both halves of the colours: it has a sign, or values below zero."""
    return explanation.sign is not Sign.UNSIGNED or explanation.range[0] < 0


def scale_of(explanation: Explanation) -> float:
    """Value drawn in full colour: the 99.5th percentile of the absolute values above 0.1 % of the largest.

    Without that bound a map of one small place would show its faint tails in full colour, as nearly all of it is zero.
    1 for a map of zeros. Of a signal whose leads are told apart, the values are those of the leads.
    """
    drawn = explanation.numpy() if explanation.by_lead is None else explanation.by_lead.tensor.cpu().numpy()
    return full_colour(drawn)


def full_colour(values: np.ndarray) -> float:
    """`scale_of` of numbers of any shape, NaN where nothing was seen."""
    sizes = np.abs(values)
    sizes = sizes[np.isfinite(sizes)]
    largest = sizes.max(initial=0.0)
    return float(np.percentile(sizes[sizes >= NEGLIGIBLE * largest], PERCENTILE)) if largest else 1.0


def scale_key(explanation: Explanation) -> Hashable:
    """Maps with the same key can be compared voxel by voxel: one quantity in one unit.

    Scores, whose unit is their own, are compared within one method. Contributions of a layer are spread over the many
    voxels of a cell, those of the input are not: only their sums over regions compare.
    """
    if explanation.quantity is Quantity.SCORE:
        return (explanation.quantity, explanation.unit, explanation.method, explanation.form)
    if explanation.quantity.sums:
        return (explanation.quantity, explanation.unit, explanation.layer is not None)
    return (explanation.quantity, explanation.unit)


def common_scales(explanations: Iterable[Explanation]) -> dict[Hashable, float]:
    """The largest scale among the maps of each key, so that maps of one quantity and unit are drawn alike."""
    scales: dict[Hashable, float] = {}
    for explanation in explanations:
        key = scale_key(explanation)
        scales[key] = max(scales.get(key, 0.0), scale_of(explanation))
    return scales


def paint(
    base: np.ndarray, relevance: np.ndarray, scale: float, *, signed: bool, resolved: np.ndarray | None = None
) -> np.ndarray:
    """Lay a map over a grey image.

    Parameters
    ----------
    base
        Grey image (row, column), 0 to 1.
    relevance
        Map (row, column), NaN where not seen.
    scale
        Value drawn in full colour.
    signed
        Which colour table.
    resolved
        Where the sign is beyond its uncertainty (row, column); elsewhere the map is grey.

    Returns
    -------
    numpy.ndarray
        Picture (row, column, 3), 0 to 1. Where the map is NaN the image is crossed by grey stripes.
    """
    share = np.nan_to_num(np.clip(relevance.astype(np.float64) / scale, -1, 1))
    rows = np.floor((share + 1) * 127 + 0.5 if signed else np.clip(share, 0, 1) * 254 + 0.5).astype(int)
    colour = table(signed)[rows] / 255.0
    if resolved is not None:
        colour[~resolved, :3] = np.divide(UNRESOLVED, 255)
        colour[~resolved, 3] *= DULLED
    unseen = ~np.isfinite(relevance)
    row, column = np.indices(relevance.shape)
    stripe = unseen & ((row + column) % PERIOD < WIDTH)
    colour[unseen, 3] = 0.0
    colour[stripe] = (*np.divide(STRIPE, 255), STRIPE_ALPHA)
    grey = np.repeat(np.nan_to_num(np.clip(base.astype(np.float64), 0, 1))[..., None], 3, -1)
    return grey * (1 - colour[..., 3:]) + colour[..., :3] * colour[..., 3:]
