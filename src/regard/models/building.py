"""A network that a file describes is built up to a size: a card of one line may ask for a million layers."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.nn.modules import module

from regard.core.errors import CardError
from regard.io.limits import limited

__all__ = ["MOST_MODULES", "MOST_PARAMETERS", "bounded"]

MOST_PARAMETERS = 2**29
"""Parameters of a network: 2 GiB of them."""

MOST_MODULES = 20_000
"""Modules of a network, each time that one is put into another."""

_DO = "correct its settings, or lift the limits with --no-limits (regard.io.limits.without_limits in Python)"


@contextmanager
def bounded(what: str) -> Iterator[None]:
    """Within this context building ends at `MOST_MODULES` and `MOST_PARAMETERS`; for one thread at a time.

    Parameters
    ----------
    what
        What is built, for the message.

    Raises
    ------
    CardError
        If it would be larger.
    """
    if not limited():
        yield
        return
    n_modules = n_parameters = 0

    def module_made(_: nn.Module, name: str, inner: nn.Module | None) -> None:
        nonlocal n_modules
        n_modules += 1
        if n_modules > MOST_MODULES:
            raise CardError(f"{what} of more than {MOST_MODULES} modules", "a smaller network", _DO)

    def parameter_made(_: nn.Module, name: str, inner: nn.Parameter | None) -> None:
        nonlocal n_parameters
        n_parameters += 0 if inner is None or nn.parameter.is_lazy(inner) else inner.numel()
        if n_parameters > MOST_PARAMETERS:
            got = f"{what} of more than {MOST_PARAMETERS:.3g} parameters"
            raise CardError(got, "a smaller network", _DO)

    hooks = (
        module.register_module_module_registration_hook(module_made),
        module.register_module_parameter_registration_hook(parameter_made),
    )
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
