"""Reading the knobs of methods: a wrong one is one sentence."""

import math
from collections.abc import Sequence

from regard.core.errors import InputError

__all__ = ["real", "sizes", "whole"]


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
