"""What is asked of an attack, and how a network's input depends on the intensities that are changed."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from regard.core.errors import InputError
from regard.explainers.attack.ball import Bounds, Norm
from regard.explainers.attack.controls import CONTROLS
from regard.explainers.attack.goals import Goal
from regard.explainers.knobs import real, whole

__all__ = ["AttackPlan", "Intensities"]


@dataclass(frozen=True)
class AttackPlan:
    """What an attack is asked for.

    Parameters
    ----------
    goal
        What is done with the prediction, and with the map: ``"keep-change"``, ``"change-keep"``, ``"change-change"``
        or ``"keep-keep"``.
    budgets
        Largest changes, in the image's unit; one or several for a curve.
    norm
        ``"inf"``: of a voxel; ``"2"``: root of the sum of squares over all voxels.
    tolerance
        How far the prediction may move and still be kept, in its unit; of a class, its probability, 0.1 by default.
    n_steps, n_restarts
        Gradient steps of each start, and starts.
    beta
        Sharpness of the rounded rectifiers that the steps follow.
    weight
        Of the prediction in what is made smaller, beside the map.
    controls
        What else changes the image as much.

    Raises
    ------
    InputError
        If a setting is none.
    """

    goal: Goal | str = Goal.KEEP_CHANGE
    budgets: Sequence[float] = (1.0,)
    norm: Norm = "inf"
    tolerance: float | None = None
    n_steps: int = 60
    n_restarts: int = 2
    beta: float = 30.0
    weight: float = 4.0
    controls: Sequence[str] = CONTROLS

    def __post_init__(self) -> None:
        if self.goal not in list(Goal):
            raise InputError(f"the goal '{self.goal}'", f"one of {', '.join(Goal)}", "correct it")
        if self.norm not in ("inf", "2"):
            raise InputError(f"the norm '{self.norm}'", "inf or 2", "correct it")
        budgets = sorted(set(self.budgets))
        if not budgets or any(not math.isfinite(b) or b <= 0 for b in budgets):
            raise InputError(f"budgets {list(self.budgets)}", "numbers above 0, in the image's unit", "correct them")
        unknown = [c for c in self.controls if c not in CONTROLS]
        if unknown:
            raise InputError(f"the control '{unknown[0]}'", f"one of {', '.join(CONTROLS)}", "correct it")
        object.__setattr__(self, "goal", Goal(self.goal))
        object.__setattr__(self, "budgets", tuple(budgets))
        whole("n_steps", self.n_steps)
        whole("n_restarts", self.n_restarts)
        real("beta", self.beta, 0)
        real("weight", self.weight, 0)


@dataclass(frozen=True, eq=False)
class Intensities:
    """How the first input depends on intensities: ``x = scale * intensity + shift``.

    Parameters
    ----------
    scale, shift
        One number, or one for each channel.
    bounds
        Lowest and highest intensity that an image may have; None: the image's own.
    unit
        Of the intensities.
    level
        Step between two grey levels of a stored image; None: a 255th of the range, as 8-bit files have it.

    Raises
    ------
    InputError
        If the scale is 0.
    """

    scale: Tensor | float = 1.0
    shift: Tensor | float = 0.0
    bounds: Bounds | None = None
    unit: str = "input"
    level: float | None = None

    def __post_init__(self) -> None:
        if not bool((torch.as_tensor(self.scale) != 0).all()):
            raise InputError(f"a scale of {self.scale}", "numbers other than 0", "give what the preparing divides by")
        if self.level is not None:
            real("level", self.level, 0)

    def constants(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Scale and shift, float64, to broadcast against ``x`` (batch, channel, \\*space)."""
        shape = (1, -1, *[1] * (x.ndim - 2))
        scale, shift = (torch.as_tensor(v, dtype=torch.float64).reshape(shape) for v in (self.scale, self.shift))
        return scale.to(x.device), shift.to(x.device)

    def image(self, x: Tensor) -> Tensor:
        """Intensities of a network's input, in its own type; the input itself where nothing is scaled."""
        scale, shift = self.constants(x)
        return ((x.double() - shift) / scale).to(x)
