"""Completeness: whether contributions sum to what there is to explain."""

from typing import ClassVar

import torch
from torch import Tensor

from regard.evidence.faithfulness.removal import undefined_map
from regard.evidence.measure import AbstractMeasure, Direction, Exhibit, Measured

__all__ = ["CompletenessError"]


class CompletenessError(AbstractMeasure):
    """What the map's sum misses, as a share of what there is to explain.

    In a formula::

        | sum_i r_i - (f(x) - f(reference)) | / | f(x) - f(reference) |

    0 for a map that is complete; only contributions sum to anything. NaN without a reference, for another quantity,
    and where f(x) = f(reference) up to rounding.

    Notes
    -----
    Sundararajan, Taly and Yan 2017, ICML (arXiv 1703.01365), proposition 1. A map may be complete and lie in the wrong
    places.
    """

    direction: ClassVar[Direction] = "lower"
    family: ClassVar[str] = "faithful"

    def measure(self, exhibit: Exhibit) -> Measured:
        if (undefined := undefined_map(exhibit, "1")) is not None:
            return undefined
        if not exhibit.quantity.sums:
            return Measured.undefined(f"sums of a map of quantity '{exhibit.quantity}' mean nothing")
        reference = exhibit.reference
        if reference is None:
            return Measured.undefined("no reference")
        both = (exhibit.x, reference)

        def inputs(items: range) -> Tensor:
            return torch.cat([both[k] for k in items])

        at_x, at_reference = exhibit.values(2, inputs, "completeness").tolist()
        difference, rounding = at_x - at_reference, torch.finfo(exhibit.x.dtype).eps
        notes = {"f(x)": at_x, "f(reference)": at_reference, "sum": float(exhibit.relevance.double().cpu().sum())}
        if abs(difference) <= 8 * rounding * max(abs(at_x), abs(at_reference)):
            return Measured.undefined("f(x) equals f(reference)", notes=notes)
        return Measured(abs(notes["sum"] - difference) / abs(difference), "1", notes)
