"""Calling a method on a network, within a time, with all that is told kept and all that is changed seen."""

import contextlib
import inspect
import logging
import signal
import threading
import warnings as python_warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from regard.core.explainer import AbstractExplainer, Attribution

from .entry import Entry


class TooSlowError(Exception):
    """A cell took longer than its limit."""


@contextlib.contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Stop what runs after some seconds, where the process has no timer of another's already."""
    here = threading.current_thread() is threading.main_thread()
    if not here or signal.getitimer(signal.ITIMER_REAL)[0] > 0:
        yield
        return

    def stop(*_: object) -> None:
        raise TooSlowError(f"more than {seconds:g} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class _Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.sentences: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.sentences.append(record.getMessage())


@dataclass
class Ran:
    """What a call gave: an attribution or an error, and all that was told."""

    found: Attribution | None = None
    error: BaseException | None = None
    told: list[str] = field(default_factory=list)


def state_of(network: Any) -> dict[str, Any]:
    """Everything of a network that a method could leave changed, by name; nothing of what is no module."""
    if not isinstance(network, nn.Module):
        return {}
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    kept: dict[str, Any] = {"threads": torch.get_num_threads()}
    for name, value in network.state_dict().items():
        kept[f"state of '{name}'"] = value.detach().clone() if isinstance(value, Tensor) else repr(value)
    for name, p in network.named_parameters():
        kept[f"flag of '{name}'"] = (p.requires_grad, p.grad is None)
    for name, m in network.named_modules():
        kept[f"mode of '{name}'"] = (m.training, getattr(m, "inplace", None), type(m), sorted(vars(m)))
        kept[f"hooks of '{name}'"] = [len(getattr(m, h, ())) for h in hooks]
    return kept


def changed_in(before: dict[str, Any], network: Any) -> str | None:
    """The first thing of a network that is not as it was."""
    after = state_of(network)
    for name in (*before, *after):
        if name not in before or name not in after:
            return name
        a, b = before[name], after[name]
        same = torch.equal(a.reshape(-1).view(torch.uint8), b.reshape(-1).view(torch.uint8)) if isinstance(
            a, Tensor) and a.dtype not in (torch.qint8, torch.quint8) else str(a) == str(b)  # fmt: skip
        if not same:
            return name
    return None


def tensors_of(inputs: Any) -> list[Tensor]:
    return list(inputs.values()) if isinstance(inputs, dict) else list(inputs)


def cases_of(inputs: Any, part: slice) -> Any:
    if isinstance(inputs, dict):
        return {k: v[part].clone() for k, v in inputs.items()}
    return tuple(v[part].clone() for v in inputs)


@contextlib.contextmanager
def seeded_draws(seed: int) -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


def call(explainer: AbstractExplainer, inputs: Any, entry: Entry, reference: Any, seed: int) -> Ran:
    ran, kept = Ran(), _Kept()
    log = logging.getLogger("regard")
    log.addHandler(kept)
    options: dict[str, Any] = {} if reference is None else {"reference": reference}
    if "preflight" in inspect.signature(explainer.compute).parameters:
        options["preflight"] = True
    try:
        # Another state in each call, so that a network which draws does not give the same twice by chance.
        with python_warnings.catch_warnings(), seeded_draws(seed):
            python_warnings.simplefilter("ignore")
            ran.found = explainer.compute(inputs, entry.target, **options)
            ran.told += [str(w) for w in getattr(ran.found, "warnings", [])]
    except Exception as error:
        ran.error = error
    finally:
        log.removeHandler(kept)
    ran.told += kept.sentences
    return ran
