"""Code that comes with a model: it runs only when it is trusted."""

import hashlib
import importlib.util
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from regard.core.errors import CardError, TrustError
from regard.models.paths import inside

__all__ = ["build_from_file", "need_trust", "on_path"]


def need_trust(name: str, trust: bool) -> None:
    """Refuse to go on without trust, when code of the file ``name`` would run.

    Raises
    ------
    TrustError
        If ``trust`` is False.
    """
    if not trust:
        raise TrustError(
            f"code of {name} would run", "--trust (trust=True in Python)", "give it if you trust its author"
        )


@contextmanager
def on_path(folder: Path) -> Iterator[None]:
    """Within this context, modules of ``folder`` can be imported; afterwards neither it nor they are known.

    Two models may each bring a ``layers.py``, so what was imported from the folder is forgotten.
    """
    path, folder = sys.path[:], folder.resolve()
    known, bytecode = set(sys.modules), sys.dont_write_bytecode
    sys.path.insert(0, str(folder))
    sys.dont_write_bytecode = True
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path[:] = path
        sys.dont_write_bytecode = bytecode
        for name in set(sys.modules) - known:
            origin = getattr(sys.modules[name], "__file__", None)
            if origin is not None and Path(origin).resolve().is_relative_to(folder):
                del sys.modules[name]


def build_from_file(folder: Path, factory: str, kwargs: Mapping[str, Any], *, trust: bool) -> Any:
    """Call ``"FILE.py:FUNCTION"`` of a model's folder.

    Raises
    ------
    CardError
        If the factory is not of that form, does not exist, or fails.
    FileError
        If the file lies outside the folder.
    TrustError
        If ``trust`` is False.
    """
    file, _, function = factory.rpartition(":")
    if not file.endswith(".py") or not function.isidentifier():
        raise CardError(f"factory '{factory}'", "FILE.py:FUNCTION", "correct the card")
    path = inside(folder, file, "factory")
    need_trust(path.name, trust)
    name = f"_regard_model_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:16]}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with on_path(path.parent):
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
            return getattr(module, function)(**kwargs)
        except Exception as error:
            raise CardError(
                f"{factory} that raised {type(error).__name__}: {error}", "a network", "correct the card or its code"
            ) from error
