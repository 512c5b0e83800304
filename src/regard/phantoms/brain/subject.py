"""A simulated subject: what is drawn before anything is rendered."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from regard.core import randomness
from regard.core.errors import InputError, UnknownNameError
from regard.phantoms.brain.ageing import AGES, STRUCTURES

__all__ = ["SCANNERS", "Scanner", "Subject", "draw_subject", "with_factors"]

_MALE = 1.035
"""How much larger a male head is along each axis."""


@dataclass(frozen=True)
class Scanner:
    """What a scanner makes of tissues.

    Parameters
    ----------
    name
        Its name.
    fluid, grey, white
        Intensity of each tissue.
    noise
        Standard deviation of the noise in a voxel of 1 mm, as a share of ``white``.
    bias
        Standard deviation of the logarithm of the sensitivity over the head.
    """

    name: str
    fluid: float = 0.22
    grey: float = 0.70
    white: float = 1.0
    noise: float = 0.03
    bias: float = 0.05


SCANNERS = (
    Scanner("A"),
    Scanner("B", fluid=0.28, grey=0.75, noise=0.045, bias=0.08),
    Scanner("C", fluid=0.16, grey=0.64, noise=0.025, bias=0.11),
)
"""Three scanners that differ in contrast, noise and sensitivity."""


@dataclass(frozen=True)
class Subject:
    """One subject, not yet rendered.

    Parameters
    ----------
    name
        Case id.
    seed
        Which cohort.
    age
        The label [year].
    sex
        ``"F"`` or ``"M"``.
    structure_ages
        Age of each of `STRUCTURES` [year]: the subject's age and a deviation of its own.
    doses
        How strongly each structure follows its age: 0 off, 0.5 half, 1 strong.
    decoy
        Intensity of the decoy, mostly between 0 and 1; None: there is none.
    scanner
        What the subject is scanned on.
    scale
        Size of the head along each axis, relative to the template.
    turn
        Rotation about the x, y and z axes [rad].
    shift
        Place of the template's origin in the scan, (x, y, z) [mm].
    warp
        Size of the subject's own deformation, relative to the default.
    """

    name: str
    seed: int
    age: float
    sex: str
    structure_ages: Mapping[str, float]
    doses: Mapping[str, float]
    decoy: float | None
    scanner: Scanner
    scale: tuple[float, float, float]
    turn: tuple[float, float, float]
    shift: tuple[float, float, float]
    warp: float = 1.0

    @property
    def to_template(self) -> np.ndarray:
        """Matrix (4, 4): scan to MNI152 space, both RAS mm; what a perfect affine registration finds."""
        matrix = np.eye(4)
        matrix[:3, :3] = _rotation(self.turn) @ np.diag(self.scale)
        matrix[:3, 3] = self.shift
        return np.linalg.inv(matrix)

    @property
    def head_size(self) -> float:
        """Volume of the head relative to the template."""
        return math.prod(self.scale)


def _rotation(turn: Sequence[float]) -> np.ndarray:
    matrix = np.eye(3)
    for axis, angle in enumerate(turn):
        one = np.eye(3)
        a, b = (axis + 1) % 3, (axis + 2) % 3
        one[[a, b], [a, b]] = math.cos(angle)
        one[a, b], one[b, a] = -math.sin(angle), math.sin(angle)
        matrix = one @ matrix
    return matrix


def draw_subject(
    seed: int,
    number: int,
    *,
    ages: tuple[float, float] = AGES,
    doses: Mapping[str, float] | None = None,
    deviation: float = 4.0,
    decoy: float | None = None,
    scanners: Sequence[Scanner] = SCANNERS,
    warp: float = 1.0,
) -> Subject:
    """Draw one subject.

    Parameters
    ----------
    seed
        Which cohort.
    number
        Which subject.
    ages
        Youngest and oldest [year]; the age is uniform between them.
    doses
        How strongly each of `STRUCTURES` follows its age; 1 where not given.
    deviation
        Standard deviation of a structure's age about the subject's [year].
    decoy
        Correlation of the decoy's intensity with the age, 0 to 1; None: there is no decoy.
    scanners
        One is drawn for each subject.
    warp
        Size of the subject's own deformation, relative to the default.

    Raises
    ------
    UnknownNameError
        If a dose is for no structure.
    InputError
        If the decoy's dose is not in [0, 1].
    """
    for name in doses or {}:
        if name not in STRUCTURES:
            raise UnknownNameError.suggest("structure", name, STRUCTURES)
    if decoy is not None and not 0 <= decoy <= 1:
        raise InputError(f"a decoy of dose {decoy}", "0 to 1, or None for no decoy", "change its dose")
    name = f"brain-{number:05d}"

    def uniform(draw: str, n: int = 1) -> list[float]:
        return randomness.uniform((n,), seed, name, draw).tolist()  # type: ignore[no-any-return]

    def normal(draw: str, n: int = 1) -> list[float]:
        return randomness.normal(torch.empty(n), seed, name, draw).tolist()  # type: ignore[no-any-return]

    position = uniform("age")[0]
    age = ages[0] + (ages[1] - ages[0]) * position
    male = uniform("sex")[0] < 0.5
    own = uniform("decoy")[0] - 0.5
    follows = (decoy or 0.0) * (position - 0.5) + math.sqrt(1 - (decoy or 0.0) ** 2) * own
    size = (_MALE if male else 1.0) * math.exp(0.025 * normal("size")[0])
    shape = [math.exp(0.015 * value) for value in normal("shape", 3)]
    turn, shift = normal("turn", 3), normal("shift", 3)
    return Subject(
        name,
        seed,
        age,
        "M" if male else "F",
        {s: age + deviation * normal(f"age of {s}")[0] for s in STRUCTURES},
        {s: (doses or {}).get(s, 1.0) for s in STRUCTURES},
        None if decoy is None else 0.5 + follows,
        scanners[min(int(uniform("scanner")[0] * len(scanners)), len(scanners) - 1)],
        (size * shape[0], size * shape[1], size * shape[2]),
        (0.05 * turn[0], 0.03 * turn[1], 0.03 * turn[2]),
        (2.0 * shift[0], 4.0 * shift[1], 4.0 * shift[2]),
        warp,
    )


def with_factors(subject: Subject, factors: Mapping[str, float]) -> Subject:
    """The same subject with other structure ages [year] or another ``decoy``, everything else as it was drawn.

    Raises
    ------
    UnknownNameError
        If the subject has no such factor.
    """
    known = [*STRUCTURES, *(["decoy"] if subject.decoy is not None else [])]
    for name in factors:
        if name not in known:
            raise UnknownNameError.suggest("factor", name, known)
    ages = {s: factors.get(s, age) for s, age in subject.structure_ages.items()}
    return replace(subject, structure_ages=ages, decoy=factors.get("decoy", subject.decoy))
