"""A network in the form in which captum takes it, and left as it was when captum is done."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn

from regard.core.batching import is_out_of_memory
from regard.core.errors import CapabilityError, RegardError
from regard.core.explainer import Query
from regard.core.recording import GRADIENT, capabilities

__all__ = ["TargetValue", "followed", "without_traces"]

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
        # Not by eval(): the network is in evaluation mode already, and an exported one refuses to be told.
        self.training = False

    def forward(self, *tensors: Tensor) -> Tensor:
        """The target's value (batch,) for ``tensors``, one per input."""
        return self._query.score([x.clone() for x in tensors])


@contextmanager
def followed(query: Query, name: str, do: str) -> Iterator[None]:
    """Within this context what captum raises is told as what it is: no gradient, or a network that it cannot follow."""
    try:
        yield
    except (RuntimeError, AssertionError, AttributeError, ValueError, IndexError) as error:
        if is_out_of_memory(error) or isinstance(error, RegardError):
            raise
        if GRADIENT in capabilities(query.network) and _is_about_gradients(error):
            query.gradient(query.inputs.tensors)
        first = (str(error) or type(error).__name__).split(". ")[0]
        raise CapabilityError(
            f"a network that captum's {name} cannot follow ({first})",
            "activations that are modules, each used once",
            do,
        ) from error


def _is_about_gradients(error: BaseException) -> bool:
    return isinstance(error, AttributeError) or any(word in str(error) for word in ("grad", "backward", "nference"))


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
