"""Grey levels have no unit: 200 of 8 bits is bright, 200 of 12 bits is black. They are brought to those of the card."""

from dataclasses import replace

from regard.core.errors import InputError
from regard.core.volume import Volume
from regard.models.card import InputSpec, Standard

__all__ = ["at_card_levels"]

_EIGHT_BITS = (0.0, 255.0)
_GREY = "grey level"
_LEAST_USED = 0.25


def at_card_levels(volume: Volume, spec: InputSpec) -> tuple[Volume, tuple[str, ...]]:
    """Bring the grey levels of a file to the range that a network was made for.

    Parameters
    ----------
    volume
        The image. Only grey levels of a known range (bits stored) are changed; brought there, they are not again.
    spec
        With ``levels``. Without them a window or a mean of at most 255 is one of 8 bits. Scaling by the image's own
        numbers (zscore, minmax, quantiles, without a window) needs no range.

    Returns
    -------
    volume
        With the card's levels.
    warnings
        What was done, in one sentence, where anything was.

    Raises
    ------
    InputError
        If the range of the card cannot be told, or the file uses so little of its own that its bits are in doubt.
    """
    have = volume.stored.levels
    if volume.unit.strip().casefold() != _GREY or have is None or _scales_itself(spec):
        return volume, ()
    wanted = _levels_of(spec)
    if wanted == have or (wanted is None and have == _EIGHT_BITS):
        return volume, ()
    if wanted is None:
        if _is_known_to_be_deeper(spec):
            return volume, ()
        raise InputError(
            f"grey levels from {have[0]:g} to {have[1]:g}, for a network whose card does not say its range",
            "levels in the card, such as levels: [0, 255]",
            "add them to its input",
        )
    used = (float(volume.tensor.max()) - have[0]) / (have[1] - have[0])
    if have != _EIGHT_BITS and used < _LEAST_USED:
        raise InputError(
            f"an image whose file holds {have[0]:g} to {have[1]:g}, and whose brightest value is "
            f"{float(volume.tensor.max()):g}",
            f"one that uses the range it has, to be brought to {wanted[0]:g} to {wanted[1]:g}",
            "save it with the bits that it really has (12 bits in a file of 16 look black), or as 8 bits",
        )
    scale = (wanted[1] - wanted[0]) / (have[1] - have[0])
    tensor = (volume.tensor - have[0]) * scale + wanted[0]
    told = f"grey levels of {have[0]:g} to {have[1]:g} were brought to the network's {wanted[0]:g} to {wanted[1]:g}"
    return replace(volume.with_tensor(tensor), stored=replace(volume.stored, levels=wanted)), (told,)


def _scales_itself(spec: InputSpec) -> bool:
    own = spec.normalise in ("zscore", "zscore-foreground", "minmax") or hasattr(spec.normalise, "quantiles")
    return own and spec.window is None


def _numbers(spec: InputSpec) -> list[float]:
    """The numbers of a card that are grey levels of the images it was made for."""
    if spec.window is not None:
        return [abs(v) for v in spec.window]
    if isinstance(spec.normalise, Standard):
        values = (spec.normalise.mean, spec.normalise.std)
        return [abs(v) for one in values for v in (one if isinstance(one, tuple) else (one,))]
    return []


def _levels_of(spec: InputSpec) -> tuple[float, float] | None:
    if spec.levels is not None:
        return spec.levels
    numbers = _numbers(spec)
    return _EIGHT_BITS if numbers and max(numbers) <= _EIGHT_BITS[1] else None


def _is_known_to_be_deeper(spec: InputSpec) -> bool:
    """Whether a card's numbers are beyond 8 bits: it was made for the values that such files hold."""
    return max(_numbers(spec), default=0.0) > _EIGHT_BITS[1]
