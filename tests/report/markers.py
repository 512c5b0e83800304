"""Volumes with an L-shaped marker whose corner is known in anatomical terms, in any storage order."""

from itertools import permutations, product

import numpy as np
import torch

from regard.core.explanation import Explanation
from regard.core.quantity import Quantity, Sign
from regard.core.volume import Volume

SHAPE = (12, 14, 10)
CORNER = (3, 4, 2)
ARMS = (4, 2, 3)
SPACING = (1.0, 1.5, 3.0)
STORED = [(order, flips) for order in permutations(range(3)) for flips in product((False, True), repeat=3)]


def marker() -> np.ndarray:
    """The marker on axes that run right, anterior, superior: arms of 2 and of different length, a corner of 3."""
    values = np.zeros(SHAPE, np.float32)
    for axis, length in enumerate(ARMS):
        for step in range(length + 1):
            place = list(CORNER)
            place[axis] += step
            values[tuple(place)] = 2.0
    values[CORNER] = 3.0
    return values


def rotation(degrees: float) -> np.ndarray:
    """Rotation about an axis that is none of the three."""
    x, y, z = np.array([1.0, 2.0, -1.5]) / np.linalg.norm([1.0, 2.0, -1.5])
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    angle = np.radians(degrees)
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def stored(values: np.ndarray, order, flips, degrees: float = 0.0) -> Volume:
    """``values`` on right-anterior-superior axes, kept in another axis order, flipped, in a tilted patient frame."""
    anatomical = np.eye(4)
    anatomical[:3, :3] = rotation(degrees) @ np.diag(SPACING)
    anatomical[:3, 3] = (-7.0, 11.0, 5.0)
    array, affine = values.transpose(order), np.eye(4)
    affine[:3, :3], affine[:3, 3] = anatomical[:3, :3][:, list(order)], anatomical[:3, 3]
    for axis, flip in enumerate(flips):
        if flip:
            array = np.flip(array, axis)
            affine[:3, 3] += affine[:3, axis] * (array.shape[axis] - 1)
            affine[:3, axis] *= -1
    return Volume(torch.as_tensor(array.copy())[None], affine, "HU")


def explanation(relevance: Volume, scan: Volume | None = None, **changes) -> Explanation:
    """An explanation with everything that is not under test filled in."""
    facts = {
        "case": "case-1",
        "method": "gradient",
        "quantity": Quantity.SENSITIVITY,
        "sign": Sign.RAISES,
        "unit": "years per HU",
        "prediction": 61.25,
        "target": "output:0",
        "output_unit": "years",
    }
    scan = relevance.with_tensor(torch.full_like(relevance.tensor, 0.5)) if scan is None else scan
    return Explanation(relevance, scan, **{**facts, **changes})
