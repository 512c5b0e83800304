"""What a request of invariances says, read and checked."""

import math
from collections.abc import Sequence
from typing import Any

from regard.core.errors import InputError
from regard.io import Case
from regard.models import Model
from regard.runs.opening import as_explained
from regard.runs.question import configuration
from regard.runs.requests.invariances import InvariancesRequest

__all__ = ["centre_of", "settings", "tolerance_of"]


def tolerance_of(text: str) -> float | None:
    """Read ``FLOAT|auto``; None is auto.

    Raises
    ------
    InputError
        If it is neither.
    """
    if text == "auto":
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise InputError(f"the tolerance '{text}'", "a number above 0, or auto")
    return value


def centre_of(text: str | None) -> tuple[int, ...] | None:
    """Read ``I,J[,K]``.

    Raises
    ------
    InputError
        If it is not two or three whole numbers.
    """
    if text is None:
        return None
    parts = text.split(",")
    if len(parts) not in (2, 3) or not all(p.strip().isdecimal() for p in parts):
        raise InputError(f"--at {text}", "two or three whole numbers, such as 120,88")
    return tuple(int(p) for p in parts)


def settings(request: InvariancesRequest, model: Model, cases: Sequence[Case], device: str) -> dict[str, Any]:
    """What makes two runs the same, checked.

    Raises
    ------
    InputError
        If an option cannot be used.
    """
    tolerance_of(request.tolerance)
    if request.at is not None and request.patch is None:
        raise InputError(f"--at {request.at} without --patch", "both", "give the size of the patch")
    centre_of(request.at)
    if not request.limit > 0 or (request.noise is not None and not request.noise > 0):
        raise InputError(f"--limit {request.limit:g}, --noise {request.noise}", "numbers above 0")
    if request.fit and request.sampler is not None:
        raise InputError(f"--fit with --sampler {request.sampler}", "one of them", "fit first, then draw")
    if request.null_space and (request.fit or request.sampler is not None):
        other = "--fit" if request.fit else f"--sampler {request.sampler}"
        raise InputError(f"--null-space with {other}", "one of them", "leave one out")
    if request.form not in ("published", "difference"):
        raise InputError(f"--form {request.form}", "published or difference")
    own = {
        "n": request.n,
        "tolerance": request.tolerance,
        "noise": request.noise,
        "limit": request.limit,
        "steps": request.steps,
        "controls": request.controls,
        "patch": request.patch,
        "at": request.at,
        "fit": request.fit,
        "null_space": request.null_space,
        "form": request.form,
        "sampler": None if request.sampler is None else str(request.sampler.absolute()),
    }
    return {**configuration(as_explained(request, methods=()), model, (), cases, device), **own}
