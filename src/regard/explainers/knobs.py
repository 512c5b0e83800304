"""Reading the knobs of methods: a wrong one is one sentence."""

import math
import re
from collections.abc import Sequence

from regard.core.errors import InputError

__all__ = ["in_samples", "is_time", "real", "sizes", "sizes_or_time", "whole"]

_SECONDS = re.compile(r"([0-9]+(?:\.[0-9]+)?)(m?s)")


def whole(name: str, value: int, minimum: int = 1) -> int:
    """Read a whole number of at least ``minimum``.

    Raises
    ------
    InputError
        If it is not one.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
        raise InputError(f"{name}={value!r}", f"a whole number of at least {minimum}", f"set {name} accordingly")
    return value


def real(name: str, value: float, low: float, high: float = math.inf, *, open_low: bool = True) -> float:
    """Read a number between ``low`` and ``high``; ``high`` itself is allowed, ``low`` only if not ``open_low``.

    Raises
    ------
    InputError
        If it is not one.
    """
    number = not isinstance(value, bool) and isinstance(value, (int, float)) and math.isfinite(value)
    if not number or not (low < value or (not open_low and value == low)) or value > high:
        above = f"above {low:g}" if open_low else f"of at least {low:g}"
        below = "" if math.isinf(high) else f" and at most {high:g}"
        raise InputError(f"{name}={value!r}", f"a number {above}{below}", f"set {name} accordingly")
    return float(value)


def in_samples(name: str, value: object, rate_hz: float) -> object:
    """A time such as ``"0.1s"`` or ``"100ms"`` as a number of samples, at least 1; anything else as it is.

    Raises
    ------
    InputError
        If it is a time of 0.
    """
    match = _SECONDS.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return value
    seconds = float(match[1]) * (1e-3 if match[2] == "ms" else 1.0)
    if not seconds > 0:
        raise InputError(f"{name}={value}", "a time above 0", f"set {name} accordingly")
    return max(1, round(seconds * rate_hz))


def is_time(value: object) -> bool:
    """Whether a knob is a time, which becomes samples once the rate of a signal is known."""
    return isinstance(value, str) and _SECONDS.fullmatch(value) is not None


def sizes_or_time(name: str, value: int | str | Sequence[int]) -> int | str | tuple[int, ...]:
    """As `sizes`; a time (``"0.1s"``) stays one."""
    return str(value) if is_time(value) else sizes(name, value)  # type: ignore[arg-type]


def sizes(name: str, value: int | Sequence[int]) -> int | tuple[int, ...]:
    """Read one whole number of at least 1, or one per spatial axis.

    Raises
    ------
    InputError
        If it is neither.
    """
    if isinstance(value, Sequence) and not isinstance(value, str) and len(value):
        return tuple(whole(name, v) for v in value)
    return whole(name, value)  # type: ignore[arg-type]
