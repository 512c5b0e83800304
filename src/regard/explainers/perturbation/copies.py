"""Copies of one case that are written over, evaluated and written over again."""

from dataclasses import replace

import torch
from torch import Tensor

from regard.core.explainer import Query

__all__ = ["Copies", "nearby", "value_of"]


class Copies:
    """A batch buffer of one case's inputs; whoever writes into it puts back what it wrote.

    Parameters
    ----------
    query
        The query whose inputs are copied.
    """

    def __init__(self, query: Query) -> None:
        self._query = query
        self.tensors: list[Tensor] = []

    def of(self, n: int) -> list[Tensor]:
        """The buffer for n copies, one tensor (n, channel, \\*space) per input."""
        if not self.tensors or self.tensors[0].shape[0] != n:
            self.tensors = []
            self.tensors = self._query.copies(n)
        return self.tensors

    @torch.no_grad()
    def score(self) -> Tensor:
        """The target's value of each copy, (n,), float64; a network that writes on its input does no harm."""
        versions = [t._version for t in self.tensors]
        try:
            return self._query.score(self.tensors).detach().to(torch.float64, copy=True)
        finally:
            for t, version, x in zip(self.tensors, versions, self._query.inputs.tensors, strict=True):
                if t._version != version:
                    t.copy_(x.expand_as(t))


def nearby(query: Query) -> Query:
    """The same query, for images near its own.

    A network with a method ``around(x)``, such as one that runs in sliding windows, is asked for one that knows x.
    """
    around = getattr(query.network, "around", None)
    if not callable(around) or len(query.inputs.tensors) > 1:
        return query
    return replace(query, network=around(query.inputs.tensors[0]))


@torch.no_grad()
def value_of(query: Query) -> Tensor:
    """The target's value (1,) at the inputs themselves."""
    return query.score(query.copies(1)).detach()
