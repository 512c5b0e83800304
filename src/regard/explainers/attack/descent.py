"""Projected gradient steps: all budgets and restarts of one case, each from its own keyed start."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from regard.core import batching, randomness
from regard.core.batching import BatchSize, auto_batch_size
from regard.core.spatial import expand_cases
from regard.explainers.attack.ball import Bounds, Norm, projected

__all__ = ["Found", "descend"]

Objective = Callable[[Tensor], Tensor]
"""Changes (batch, channel, \\*space), float64, to what is made smaller (batch,)."""

_FIRST_STEP = 0.25
_LAST_STEP = 0.01
"""Shares of the budget that the first and the last step are long."""


@dataclass(frozen=True, eq=False)
class Found:
    """The best change for one budget, by the attack's own objective.

    Parameters
    ----------
    change
        (1, channel, \\*space), float64.
    objective
        What was made smaller, at it.
    restart
        Number of the restart that it is of.
    """

    change: Tensor
    objective: float
    restart: int


def _start(image: Tensor, norm: Norm, seed: int, case: str, restart: int) -> Tensor:
    """A direction in the unit ball, the same for every budget."""
    key = f"attack start {restart}"
    if norm == "inf":
        return 2 * randomness.uniform(tuple(image.shape), seed, case, key).to(image) - 1
    drawn = randomness.normal(image, seed, case, key)
    return drawn / drawn.norm()


def descend(
    objective: Objective,
    image: Tensor,
    budgets: Sequence[float],
    norm: Norm,
    bounds: Bounds,
    *,
    n_steps: int,
    n_restarts: int,
    seed: int = 0,
    case: str = "",
    batch_size: BatchSize = "auto",
) -> list[Found]:
    """Make an objective smaller within balls around an image, by signed (L-inf) or normed (L2) gradient steps.

    Steps shorten geometrically from a quarter to a hundredth of the budget. The best of all steps and restarts is
    kept, by the objective and by nothing else; a larger ball holds the smaller ones, so that a larger budget never does
    worse. Ten parameters, as this is the whole method.

    Parameters
    ----------
    objective
        What is made smaller.
    image
        x (1, channel, \\*space), float64, in the unit of the budgets.
    budgets
        Radii, rising.
    norm, bounds
        Of the balls; the range that is kept.
    n_steps, n_restarts
        How many, for each budget.
    seed, case
        Key of the starts.
    batch_size
        Changes at once.

    Returns
    -------
    list
        One for each budget.
    """
    best: list[Found | None] = [None] * len(budgets)
    n_items = len(budgets) * n_restarts

    def evaluate(items: range) -> tuple[Tensor, Tensor]:
        radii = torch.tensor([budgets[k // n_restarts] for k in items]).to(image)
        starts = torch.cat([_start(image, norm, seed, case, k % n_restarts) for k in items])
        change = projected(0.5 * starts * expand_cases(radii, starts), image, radii, norm, bounds)
        kept, least = change.clone(), torch.full_like(radii, torch.inf)
        for step in range(n_steps + 1):
            change = change.detach().requires_grad_(step < n_steps)
            value = objective(change)
            better = value.detach() < least
            least = torch.where(better, value.detach(), least)
            kept = torch.where(expand_cases(better, kept), change.detach(), kept)
            if step == n_steps:
                break
            (gradient,) = torch.autograd.grad(value.sum(), change)
            share = _FIRST_STEP * (_LAST_STEP / _FIRST_STEP) ** (step / max(1, n_steps - 1))
            moved = change.detach() - expand_cases(share * radii, change) * _direction(gradient, norm)
            change = projected(moved, image, radii, norm, bounds)
        return kept, least

    def keep(items: range, result: tuple[Tensor, Tensor]) -> None:
        for n, item in enumerate(items):
            budget, restart = divmod(item, n_restarts)
            new = Found(result[0][n : n + 1], float(result[1][n]), restart)
            for wider in range(budget, len(budgets)):
                now = best[wider]
                if now is None or new.objective < now.objective:
                    best[wider] = new

    at_once = auto_batch_size(image, n_items, backward=True) if batch_size == "auto" else batch_size
    batching.run(evaluate, n_items, keep, batch_size=at_once, label="attack")
    return [found for found in best if found is not None]


def _direction(gradient: Tensor, norm: Norm) -> Tensor:
    gradient = torch.nan_to_num(gradient)
    if norm == "inf":
        return gradient.sign()
    size = gradient.flatten(1).norm(dim=1).clamp_min(1e-300)
    return gradient / expand_cases(size, gradient)
