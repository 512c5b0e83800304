"""What came of an attack and of its controls: one row for each image and each method that looks at it."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from regard.explainers.attack.ball import Norm
from regard.explainers.attack.goals import Goal, Likeness
from regard.explainers.attack.prediction import Said

__all__ = ["ATTACK", "AttackResult", "Attempt"]

ATTACK = "attack"
"""Kind of an attempt that is no control."""


@dataclass(frozen=True, eq=False)
class Attempt:
    """One changed image, seen by one method.

    Parameters
    ----------
    case
        Whose image it is.
    kind
        ``"attack"``, or the name of the control.
    goal
        What the attack wanted.
    method
        Which method's map is judged.
    attacked
        Which method's map the steps followed; the same, but for transfer and for methods without gradients.
    budget, norm, unit
        Largest change that was allowed, in which norm, in which unit.
    linf, l2
        Size of the change that was made, in that unit: the largest of a voxel, and the root of the sum of squares.
    before, after
        What the network said.
    prediction_unit
        Unit of the target's value.
    drift
        Change of the number, or of the probability of the class that was said before.
    tolerance
        Drift that counts as kept.
    likeness
        Of the map after to the map before, over the foreground.
    to_wanted
        Of the map after to the one that it was to become; None where there is none.
    prediction_reached, map_reached
        Whether each is as the goal wants, on the network itself.
    softened
        The same two on the network with rounded rectifiers, which the steps followed; None of controls and transfers.
    rounded
        The same two on the network itself, once the image is rounded to whole grey levels; None of those.
    restart, n_restarts
        Which start the image is from, of how many.
    objective
        What the steps made smaller, at the image; NaN of controls.
    image
        The changed image (1, channel, \\*space), in intensities.
    map_before, map_after
        (1, 1, \\*space), signed.
    """

    case: str
    kind: str
    goal: Goal
    method: str
    attacked: str
    budget: float
    norm: Norm
    unit: str
    linf: float
    l2: float
    before: Said
    after: Said
    prediction_unit: str
    drift: float
    tolerance: float
    likeness: Likeness
    to_wanted: Likeness | None
    prediction_reached: bool
    map_reached: bool
    softened: tuple[bool, bool] | None
    rounded: tuple[bool, bool] | None
    restart: int
    n_restarts: int
    objective: float
    image: Tensor
    map_before: Tensor
    map_after: Tensor

    @property
    def success(self) -> bool:
        """Whether prediction and map are both as the goal wants, on the network itself."""
        return self.prediction_reached and self.map_reached

    @property
    def class_changed(self) -> bool | None:
        """Whether another class is the most likely one; None of numbers."""
        return None if self.before.label is None else self.before.label != self.after.label

    def row(self) -> dict[str, Any]:
        """The attempt without its images, a line of ``attacks.tsv``."""
        left_out = {
            "image",
            "map_before",
            "map_after",
            "before",
            "after",
            "likeness",
            "to_wanted",
            "softened",
            "rounded",
        }
        plain = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name not in left_out}
        wanted = self.to_wanted
        return plain | {
            "goal": str(self.goal),
            "value_before": self.before.value, "value_after": self.after.value,
            "class_before": self.before.label, "class_after": self.after.label,
            "probability_before": self.before.probability, "probability_after": self.after.probability,
            "spearman": self.likeness.spearman, "top_overlap": self.likeness.overlap,
            "spearman_to_wanted": None if wanted is None else wanted.spearman,
            "top_overlap_to_wanted": None if wanted is None else wanted.overlap,
            "success": self.success,
            "success_softened": None if self.softened is None else all(self.softened),
            "success_rounded": None if self.rounded is None else all(self.rounded),
        }  # fmt: skip


@dataclass(frozen=True, eq=False)
class AttackResult:
    """Everything that came of one case.

    Parameters
    ----------
    attempts
        Attacks first, then controls; of each budget, each method that looks.
    warnings
        Sentences that a reader must see.
    """

    attempts: tuple[Attempt, ...]
    warnings: tuple[str, ...] = field(default=())

    def attacks(self, method: str | None = None) -> list[Attempt]:
        """The attacks, as one method sees them, or as the attacked one does."""
        return [a for a in self.attempts if a.kind == ATTACK and a.method == (method or a.attacked)]

    def rows(self) -> list[dict[str, Any]]:
        """Lines of ``attacks.tsv``."""
        return [a.row() for a in self.attempts]

    @classmethod
    def joined(cls, results: "Sequence[AttackResult]") -> "AttackResult":
        """The attempts of several cases, goals or methods as one."""
        attempts = tuple(a for r in results for a in r.attempts)
        return cls(attempts, tuple(dict.fromkeys(w for r in results for w in r.warnings)))
