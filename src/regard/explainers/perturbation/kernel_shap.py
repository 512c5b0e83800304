"""Shapley values as the slopes of a weighted linear model of the coalitions."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from regard.core import randomness
from regard.core.errors import InputError
from regard.core.explainer import AbstractExplainer, Attribution, Form, Query, Removal
from regard.core.quantity import Quantity, Sign
from regard.core.recording import Network
from regard.explainers.knobs import real, whole
from regard.explainers.perturbation.players import Parts, PartsLike, worth
from regard.explainers.perturbation.shapley_exact import all_coalitions
from regard.explainers.reference import compared_with, remainder

__all__ = ["KernelSHAP", "Solution", "kernel", "solve"]

_MOST_ENUMERATED = 20


def kernel(n: int, size: int) -> float:
    """Weight of a coalition of ``size`` among n players: (n - 1) / (C(n, s) s (n - s)).

    Notes
    -----
    Lundberg and Lee 2017 (arXiv 1705.07874), theorem 2.
    """
    return (n - 1) / (math.comb(n, size) * size * (n - size))


@dataclass(frozen=True)
class Solution:
    """Values and their standard errors, (player,)."""

    values: Tensor
    standard_errors: Tensor


def solve(coalitions: Tensor, gains: Tensor, weights: Tensor, total: float, *, drawn: bool) -> Solution:
    """Weighted least squares of ``gains`` on who is shown, with values that sum to ``total``.

    Parameters
    ----------
    coalitions
        (sample, player), float64; where ``drawn``, samples 2 k and 2 k + 1 are a coalition and its complement.
    gains
        v(S) - v(empty), (sample,).
    weights
        (sample,), up to a factor.
    total
        v(all) - v(empty).
    drawn
        Whether coalitions were drawn; otherwise all are there and the error is 0.

    Notes
    -----
    The constrained solution is that of Covert and Lee 2021 (arXiv 2012.01536), eqs. 6 and 7; the error is the sandwich
    estimate over pairs, which are independent while their two members are not.
    """
    share = weights / weights.sum()
    inverse = torch.linalg.pinv((coalitions * share[:, None]).T @ coalitions, hermitian=True)
    moment = (coalitions * share[:, None]).T @ gains
    ones = torch.ones(coalitions.shape[1], dtype=torch.float64)
    spread = inverse @ ones / (ones @ inverse @ ones)
    free = inverse @ moment
    values = free - spread * (free.sum() - total)
    if not drawn:
        return Solution(values, torch.zeros_like(values))
    scores = coalitions * (gains - coalitions @ values)[:, None]
    pairs = scores.reshape(-1, 2, coalitions.shape[1]).mean(1) @ inverse
    pairs = pairs - pairs.sum(1, keepdim=True) * spread
    n_pairs, n_free = len(pairs), max(1, len(pairs) - coalitions.shape[1] + 1)
    return Solution(values, (pairs.square().sum(0) / n_pairs / n_free).sqrt())


class KernelSHAP(AbstractExplainer):
    """Shapley values of parts by weighted least squares over coalitions, with their standard error.

    Coalitions are drawn with their complements, sizes by the Shapley kernel; where there are no more than asked for,
    all are evaluated and the values are exact. Parts, reference and map are those of ``shapley-exact``: the map sums to
    f(x) - f(reference) whatever was drawn.

    Parameters
    ----------
    network
        Any callable; no gradient is needed.
    parts
        ``"supervoxels"``, ``"blocks"``, a file of labels such as an atlas, or labels (\\*space) for each image.
    n_parts
        Parts wanted of each image, where they are made.
    n_samples
        Coalitions at most, without the empty and the full one; at least four for each part.
    compactness
        Weight of nearness against intensity when supervoxels are cut.
    form
        Both forms are the same.

    Raises
    ------
    InputError
        If there are too few samples for the parts, or a knob is out of its range.

    Notes
    -----
    Lundberg and Lee 2017 (arXiv 1705.07874), eq. 8 and theorem 2; pairs and the error as Covert and Lee 2021
    (arXiv 2012.01536), sections 3 and 4.
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
        n_parts: int = 50,
        n_samples: int = 1000,
        compactness: float = 0.1,
        form: Form = "signed",
    ) -> None:
        super().__init__(network, form=form)
        self.n_parts = whole("n_parts", n_parts)
        self.n_samples = whole("n_samples", n_samples, 2)
        self.compactness = real("compactness", compactness, 0)
        self._parts = Parts(parts, self.n_parts, self.compactness)
        self.parts = self._parts.name

    def removal(self, query: Query) -> Removal:
        return compared_with(query).tensors, self._parts.of(query.inputs).parts

    def _attribute(self, query: Query) -> Attribution:
        players = self._parts.of(query.inputs)
        n = players.n
        query.of_the_case_alone()
        compared = compared_with(query)
        drawn = n > _MOST_ENUMERATED or 2**n - 2 > self.n_samples
        coalitions, weights = self._draw(query, n) if drawn else _all(n)
        ends = torch.stack([torch.zeros(n, dtype=torch.bool), torch.ones(n, dtype=torch.bool)])
        values = worth(query, compared.tensors, players, torch.cat([ends, coalitions]), "kernel-shap")
        total = float(values[1] - values[0])
        if n == 1:
            solution = Solution(torch.tensor([total], dtype=torch.float64), torch.zeros(1, dtype=torch.float64))
        else:
            solution = solve(coalitions.double(), values[2:] - values[0], weights, total, drawn=drawn)
        maps = players.maps(solution.values)
        value, at_reference = (v.reshape(1).to(maps[0].device) for v in (values[1], values[0]))
        found = Attribution(
            maps,
            value,
            reference_value=at_reference,
            completeness_error=remainder(maps, value, at_reference),
            standard_error=tuple(e.float() for e in players.maps(solution.standard_errors)),
            notes={
                "reference": compared.words,
                "n_parts_used": n,
                "n_evaluations": len(values),
                "coalitions": "drawn in pairs" if drawn else "all",
            },
        )
        return compared.told(found)

    def _draw(self, query: Query, n: int) -> tuple[Tensor, Tensor]:
        """Coalitions (2 k, n) with their complements, sizes by the kernel, each of weight 1."""
        if self.n_samples < 4 * n:
            raise InputError(
                f"n_samples={self.n_samples} for {n} parts", f"at least {4 * n}", "take more samples or fewer parts"
            )
        sizes = torch.tensor([kernel(n, s) * math.comb(n, s) for s in range(1, n)], dtype=torch.float64)
        steps = (sizes / sizes.sum()).cumsum(0)
        coalitions = torch.zeros(2 * (self.n_samples // 2), n, dtype=torch.bool)
        for pair in range(self.n_samples // 2):
            drawn = randomness.uniform((n + 1,), query.seed, query.case, pair)
            size = 1 + int(torch.searchsorted(steps, float(drawn[-1]), right=True).clamp(max=n - 2))
            coalitions[2 * pair, drawn[:-1].argsort()[:size]] = True
            coalitions[2 * pair + 1] = ~coalitions[2 * pair]
        return coalitions, torch.ones(len(coalitions), dtype=torch.float64)


def _all(n: int) -> tuple[Tensor, Tensor]:
    """All coalitions but the empty and the full one, with their weights."""
    coalitions = all_coalitions(n)[1:-1]
    return coalitions, torch.tensor([kernel(n, int(s)) for s in coalitions.sum(1)], dtype=torch.float64)
