"""A network in the form in which captum takes it, and left as it was when captum is done."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn

from regard.core.explainer import Query

__all__ = ["TargetValue", "without_traces"]

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


class TargetValue(nn.Module):
    """Tensors in, the target's value (batch,) out.

    Parameters
    ----------
    query
        What is asked of which network.
    """

    def __init__(self, query: Query) -> None:
        super().__init__()
        self.network = query.network
        self._query = query

    def forward(self, *tensors: Tensor) -> Tensor:
        """The target's value (batch,) for ``tensors``, one per input."""
        return self._query.score([x.clone() for x in tensors])


@contextmanager
def without_traces(network: nn.Module) -> Iterator[None]:
    """Within this context activations are not in-place; afterwards flags, hooks and attributes are as they were."""
    kept = []
    for m in network.modules():
        kept.append((m, dict(m.__dict__), {hook: dict(getattr(m, hook)) for hook in _HOOKS}))
        if getattr(m, "inplace", False) is True:
            m.__dict__["inplace"] = False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for m, attributes, hooks in kept:
            for name in set(m.__dict__) - set(attributes):
                del m.__dict__[name]
            if "inplace" in attributes:
                m.__dict__["inplace"] = attributes["inplace"]
            for hook, before in hooks.items():
                table = getattr(m, hook)
                for key in set(table) - set(before):
                    del table[key]
