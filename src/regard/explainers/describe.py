"""All that a method says about itself, in words."""

import inspect
from typing import Any

from regard.explainers import METHODS

__all__ = ["describe", "methods"]


def describe(name: str) -> dict[str, Any]:
    """Facts of a registered method: quantity, sign, needs, knobs with their defaults, promises it does not make.

    Raises
    ------
    UnknownNameError
        If there is no such method.
    """
    method = METHODS.load(name)
    parameters = [p for p in inspect.signature(method).parameters.values() if p.name != "network"]
    published = method.published_meaning
    return {
        "method": name,
        "what it does": METHODS.entry(name)[1],
        "quantity": str(method.quantity),
        "sign": str(method.sign),
        "published form": "as signed" if published is None else f"{published[0]}, {published[1]}",
        "needs": ", ".join(sorted(method.needs)) or "nothing: any function",
        "reference": "can be given" if method.takes_reference else "cannot be used",
        "an input without space (batch, feature)": method.without_space,
        "knobs": {p.name: f"default {p.default}" for p in parameters},
        "does not promise": {str(promise): reason for promise, reason in method.breaks.items()},
        "python": f"{method.__module__}.{method.__name__}",
    }


def methods() -> Any:
    """Every method, as a table.

    Returns
    -------
    pandas.DataFrame
        Index ``method``; columns ``quantity`` of the signed form and ``what it does``.
    """
    import pandas as pd

    rows = [(n, str((*METHODS.entry(n), "score")[2]), str(METHODS.entry(n)[1])) for n in METHODS]
    return pd.DataFrame(rows, columns=["method", "quantity", "what it does"]).set_index("method")
