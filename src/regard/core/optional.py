"""Optional packages: one helper, one sentence."""

import importlib
from types import ModuleType

from regard.core.errors import MissingDependencyError

__all__ = ["need"]


def need(module: str, *, extra: str, purpose: str) -> ModuleType:
    """Import an optional ``module``, or say in one sentence which extra brings it.

    Parameters
    ----------
    module
        Dotted name, such as ``"highdicom"``.
    extra
        The extra of Regard that installs it.
    purpose
        What needs it, as the start of the sentence.

    Raises
    ------
    MissingDependencyError
        If the package is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and not module.startswith(error.name):
            raise
        raise MissingDependencyError.of(module.partition(".")[0], extra, purpose) from error
