"""The map between a subject and the template: ageing first, then the subject's own shape; both can be undone."""

from functools import lru_cache

import torch
from torch import Tensor

from regard.core.errors import RegardError
from regard.phantoms.brain.ageing import ageing_velocity, amounts
from regard.phantoms.brain.subject import Subject
from regard.phantoms.brain.warp import VELOCITIES, composed, exponential, jacobian, random_velocity

__all__ = ["from_template", "log_growth", "to_template"]

_WIDE, _FINE = (2.8, 22.0), (1.1, 9.0)
"""Standard deviation and kernel of a subject's own velocities [mm]."""


@lru_cache(maxsize=4)
def _own(seed: int, name: str, size: float, sign: int) -> Tensor:
    """Displacement of the subject's own shape, or back from it, (3, i, j, k) [mm]."""
    if size == 0:
        return torch.zeros(3, *VELOCITIES.shape)
    wide = random_velocity(_WIDE[0] * size, _WIDE[1], seed, name, "wide deformation")
    fine = random_velocity(_FINE[0] * size, _FINE[1], seed, name, "fine deformation")
    return exponential(sign * (wide + fine))


def _checked(displacement: Tensor, subject: Subject) -> Tensor:
    smallest = float(jacobian(VELOCITIES.points() + displacement).min())
    if smallest <= 0:
        raise RegardError(f"the deformation of {subject.name} folds (a Jacobian of {smallest:.3g}); use a smaller warp")
    return displacement


def to_template(subject: Subject) -> Tensor:
    """Displacement from a subject, after its affine registration, to the template.

    Returns
    -------
    Tensor
        u with (position in the template) = x + u(x), (3, i, j, k) [mm] on `VELOCITIES`.

    Raises
    ------
    RegardError
        If the map folds: a Jacobian determinant is not above 0.
    """
    ageing = exponential(-ageing_velocity(amounts(subject.structure_ages, subject.doses)))
    return _checked(composed(_own(subject.seed, subject.name, subject.warp, -1), ageing), subject)


def from_template(subject: Subject) -> Tensor:
    """Displacement from the template to a subject after its affine registration: the inverse of `to_template`."""
    ageing = exponential(ageing_velocity(amounts(subject.structure_ages, subject.doses)))
    return _checked(composed(ageing, _own(subject.seed, subject.name, subject.warp, 1)), subject)


def log_growth(subject: Subject) -> Tensor:
    """Logarithm of how many times larger each place of the template is in the subject, (i, j, k) on `VELOCITIES`."""
    return jacobian(VELOCITIES.points() + from_template(subject)).log()
