"""Orders of many values, faster than torch gives them on a processor."""

import numpy as np
import torch
from torch import Tensor

__all__ = ["order_of"]


def order_of(values: Tensor) -> Tensor:
    """Indices that sort ``values`` (n,) on the CPU from the smallest up, (n,), int64; ties keep their order, NaN last.

    numpy sorts without regard to ties, several times faster than a stable sort; where two values tie the stable one is
    taken, so that the order is that of ``values.argsort(stable=True)`` in every case.
    """
    numbers = values.detach().numpy()
    order = np.argsort(numbers)
    ordered = numbers[order]
    if bool((ordered[1:] == ordered[:-1]).any()) or (len(ordered) and ordered[-1] != ordered[-1]):
        return values.argsort(stable=True)
    return torch.from_numpy(order)
