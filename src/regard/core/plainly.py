"""Running what torch would run otherwise in a way that hooks and gradients can follow.

Compiled parts of a network run as they were written, attention runs through its modules and not past them, and
re-entrant checkpoints, which allow no gradient of chosen tensors, run as the other kind.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch.utils import checkpoint

__all__ = ["in_backward", "plainly", "without_checkpoints"]


@contextmanager
def plainly() -> Iterator[None]:
    """Within this context networks run as their modules say; the process is as it was afterwards."""
    with ExitStack() as stack:
        fast = torch.backends.mha.get_fastpath_enabled()
        torch.backends.mha.set_fastpath_enabled(False)
        stack.callback(torch.backends.mha.set_fastpath_enabled, fast)
        if "torch._dynamo.eval_frame" in sys.modules and not torch.compiler.is_compiling():
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        stack.enter_context(_reentrant_as_the_other())
        yield


@contextmanager
def _reentrant_as_the_other() -> Iterator[None]:
    function: Any = checkpoint.CheckpointFunction
    if "apply" in function.__dict__:  # within another such context
        yield
        return

    def apply(run: Callable[..., Any], preserve: bool, *args: Any) -> Any:
        return checkpoint.checkpoint(run, *args, use_reentrant=False, preserve_rng_state=preserve)

    function.apply = staticmethod(apply)
    try:
        yield
    finally:
        del function.apply


@contextmanager
def without_checkpoints() -> Iterator[None]:
    """Within this context checkpointed parts are run once and kept, for what must not run twice."""
    name = "_checkpoint_without_reentrant_generator"
    kept = getattr(checkpoint, name, None)

    def once(*_: Any, **__: Any) -> Iterator[None]:
        yield

    if kept is not None:
        setattr(checkpoint, name, once)
    try:
        yield
    finally:
        if kept is not None:
            setattr(checkpoint, name, kept)


def in_backward() -> bool:
    """Whether autograd is running backward: a checkpoint then runs a part of the network once more."""
    return bool(torch._C._current_graph_task_id() != -1)  # type: ignore[attr-defined]
