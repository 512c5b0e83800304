"""Shapley values over all coalitions of a few parts."""

import math

import torch
from torch import Tensor

from regard.core.errors import InputError
from regard.core.explainer import AbstractExplainer, Attribution, Form, Query, Removal
from regard.core.quantity import Quantity, Sign
from regard.core.recording import Network
from regard.explainers.knobs import real, whole
from regard.explainers.perturbation.players import Parts, PartsLike, worth
from regard.explainers.reference import compared_with, remainder

__all__ = ["MOST_PARTS", "ShapleyExact", "all_coalitions", "shapley_values"]

MOST_PARTS = 12
"""Two to the twelfth is 4,096 evaluations."""


def all_coalitions(n: int) -> Tensor:
    """Who is in each of the 2^n coalitions, (2^n, n), bool; coalition k holds player i if bit i of k is set."""
    return torch.arange(2**n)[:, None].bitwise_right_shift(torch.arange(n)).bitwise_and(1).bool()


def shapley_values(values: Tensor, n: int) -> Tensor:
    """Shapley values (n,) from the values (2^n,) of `all_coalitions`.

    Notes
    -----
    phi_i = sum over S without i of |S|! (n - |S| - 1)! / n! (v(S + i) - v(S)); Shapley 1953.
    """
    coalitions = all_coalitions(n)
    sizes = coalitions.sum(1)
    weights = torch.tensor(
        [math.factorial(s) * math.factorial(n - s - 1) / math.factorial(n) for s in range(n)], dtype=torch.float64
    )
    found = torch.zeros(n, dtype=torch.float64)
    for player in range(n):
        without = torch.nonzero(~coalitions[:, player]).flatten()
        found[player] = (weights[sizes[without]] * (values[without + 2**player] - values[without])).sum()
    return found


class ShapleyExact(AbstractExplainer):
    """Exact Shapley values of at most twelve parts: the mean of what a part adds, over all orders of showing them.

    Parts of images are supervoxels, blocks, or regions of an atlas; what no label covers is one part of its own. Each
    column of an input without space plays on its own. Parts of several inputs play together. A hidden part is as in the
    reference; without one each image is compared with its own smallest value per channel. A part's value is spread
    evenly over its places, so that the map sums to f(x) - f(reference).

    Parameters
    ----------
    network
        Any callable; no gradient is needed.
    parts
        ``"supervoxels"``, ``"blocks"``, a file of labels such as an atlas, or labels (\\*space) for each image.
    n_parts
        Parts wanted of each image, where they are made; twelve at most in all.
    compactness
        Weight of nearness against intensity when supervoxels are cut.
    form
        Both forms are the same.

    Raises
    ------
    InputError
        If there are more than twelve parts, or a knob is out of its range.

    Notes
    -----
    Shapley 1953, in Contributions to the Theory of Games II; Lundberg and Lee 2017 (arXiv 1705.07874), eq. 4.
    """

    quantity = Quantity.CONTRIBUTION
    sign = Sign.RAISED
    needs = frozenset()
    takes_reference = True
    without_space = "a part for each feature with a reference, NaN without one"

    def __init__(
        self,
        network: Network,
        *,
        parts: PartsLike = "supervoxels",
        n_parts: int = 8,
        compactness: float = 0.1,
        form: Form = "signed",
    ) -> None:
        super().__init__(network, form=form)
        self.n_parts = whole("n_parts", n_parts)
        self.compactness = real("compactness", compactness, 0)
        self._parts = Parts(parts, self.n_parts, self.compactness)
        self.parts = self._parts.name

    def removal(self, query: Query) -> Removal:
        return compared_with(query).tensors, self._parts.of(query.inputs).parts

    def _attribute(self, query: Query) -> Attribution:
        players = self._parts.of(query.inputs)
        if players.n > MOST_PARTS:
            raise InputError(
                f"{players.n} parts ({self.parts}, and each column of inputs without space)",
                f"at most {MOST_PARTS}, for all their coalitions are evaluated",
                "take fewer with n_parts, or choose kernel-shap",
            )
        query.of_the_case_alone()
        compared = compared_with(query)
        values = worth(query, compared.tensors, players, all_coalitions(players.n), "shapley-exact")
        maps = players.maps(shapley_values(values, players.n))
        value, at_reference = (v.reshape(1).to(maps[0].device) for v in (values[-1], values[0]))
        found = Attribution(
            maps,
            value,
            reference_value=at_reference,
            completeness_error=remainder(maps, value, at_reference),
            notes={"reference": compared.words, "n_parts_used": players.n, "n_evaluations": len(values)},
        )
        return compared.told(found)
