"""One cell of the matrix: what a method does on a network, and which of three outcomes that is."""

import contextlib
import re
import time
import warnings as python_warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from regard.core.errors import RegardError
from regard.core.explainer import AbstractExplainer, Attribution
from regard.core.quantity import Quantity
from regard.core.recording import unwrap
from regard.explainers import METHODS

from .by_hand import DERIVATIONS, KNOBS, Question
from .calling import TooSlowError, call, cases_of, changed_in, limited, seeded_draws, state_of, tensors_of
from .cams_by_hand import COARSE, cam
from .entry import Entry
from .rollout_by_hand import attention_rollout

Outcome = Literal["right", "plausible", "warned", "refused", "failed"]
"""``plausible``: all that can be checked without a derivation holds; ``failed`` is what must not be."""

LIMIT = 60.0
"""Seconds for one cell."""

AGAIN = {**DERIVATIONS, "attention-rollout": attention_rollout}
"""Method -> its maps again."""

CLOSED = ("shapley", "deeplift", "lrp")
"""Methods whose map is right where it adds up to what it must, which is computed apart from it."""


@dataclass(frozen=True)
class Cell:
    """What came of one method on one network.

    Parameters
    ----------
    network, method
        Which.
    outcome
        See `Outcome`.
    sentence
        The refusal, the warning that names the condition, or what is wrong; for a map how it was checked.
    open_reason
        Of a refusal that no property of the network demands, the sentence; else empty.
    seconds
        What it took.
    """

    network: str
    method: str
    outcome: Outcome
    sentence: str
    open_reason: str = ""
    seconds: float = 0.0


ZERO = "0 at all places"
ZEROS = "0 at all places by a derivation of its own too, and that is told"


def _differs(a: np.ndarray, b: np.ndarray, tolerance: float) -> str | None:
    """Say how two maps differ, NaN in the same places and the rest to ``tolerance`` of the largest."""
    if a.shape != b.shape:
        return f"shapes {a.shape} and {b.shape}"
    if (np.isnan(a) != np.isnan(b)).any():
        return f"NaN at {int(np.isnan(a).sum())} places in place of {int(np.isnan(b).sum())}"
    off = float(np.nanmax(np.abs(a - b), initial=0.0))
    size = float(np.nanmax(np.abs(b), initial=0.0))
    if off <= tolerance * size + 1e-12:
        return None
    return f"off by {off:.3g} for a map of size {size:.3g}"


def _check_map(found: Attribution, inputs: list[Tensor]) -> list[str]:
    """What is wrong with maps, whatever made them."""
    problems = []
    if len(found.relevance) != len(inputs):
        return [f"{len(found.relevance)} maps for {len(inputs)} inputs"]
    for n, (m, x) in enumerate(zip(found.relevance, inputs)):
        places = tuple(x.shape[2:])
        if m.dtype != torch.float32 or m.shape[0] != len(x) or tuple(m.shape[2:]) != places:
            problems.append(f"map {n} is {m.dtype} {tuple(m.shape)} for an input of {tuple(x.shape)}")
        finite = torch.isfinite(m)
        if bool(finite.any()) and not bool(finite.all()):
            problems.append(f"map {n} has {int((~finite).sum())} values that are not finite")
    seen = torch.cat([m[torch.isfinite(m)].flatten() for m in found.relevance])
    if seen.numel() and not bool(seen.any()):
        problems.append(ZERO)
    return problems


def _missing(found: Attribution, names: Sequence[str] | None, told: list[str]) -> tuple[list[str], list[str]]:
    """Sentences about inputs whose map is NaN everywhere, and inputs of which nobody says so."""
    sentences, silent = [], []
    for n, m in enumerate(found.relevance):
        if bool(torch.isnan(m).all()):
            called = rf"input '?({n}|{names[n] if names else n})\\b|number {n + 1}\\b|the input"
            why = r"no space|no place|other axes|does not depend"
            naming = [t for t in told if re.search(called, t) and "NaN" in t and re.search(why, t)]
            sentences += naming[:1]
            silent += [] if naming else [f"map {n} is NaN, and nobody says why"]
    return sentences, silent


def _statement(found: Attribution, q: Question, quantity: Quantity) -> tuple[str | None, float | None]:
    """Whether a contribution's stated remainder is true, and how large it is beside what is divided."""
    if quantity is not Quantity.CONTRIBUTION or found.completeness_error is None:
        return None, None
    if any(bool(torch.isnan(m).any()) for m in found.relevance):
        return None, None
    total = sum(float(m.double().sum()) for m in found.relevance)
    value = q.score(q.x)
    base = 0.0 if found.reference_value is None else float(found.reference_value[0])
    size = max(abs(value), abs(base), sum(float(m.double().abs().sum()) for m in found.relevance) * 1e-3)
    stated = float(found.completeness_error[0])
    if abs(total - (value - base) - stated) > 10 * q.entry.tolerance * size + 1e-9:
        return f"it states a remainder of {stated:.3g} where {total - (value - base):.3g} is left", None
    return None, abs(stated) / max(abs(value - base), 1e-12)


def _derived(name: str, q: Question) -> tuple[str | None, str | None]:
    """What is wrong beside a derivation, or how it was derived; both None where there is none."""
    if name in COARSE:
        if not q.found.notes.get("layer"):
            return None, None
        maps = cam(name, q)
        if isinstance(maps, str):
            return None, None
    elif name in AGAIN:
        maps = AGAIN[name](q)
        if maps is None:
            return None, None
    else:
        return None, None
    looked = False
    for n, (expected, m) in enumerate(zip(maps, q.found.relevance)):
        if expected is None:
            continue
        got = m[0].double().numpy()
        if expected.shape != got.shape and expected.shape[0] > 1 and got.shape[0] == 1:
            expected = expected.sum(0, keepdims=True)
        problem = _differs(got, expected, q.entry.tolerance)
        if problem is not None:
            return f"input {n}: {problem}, by a derivation of its own", None
        looked = looked or bool(np.nanmax(np.abs(expected), initial=0.0) > 0)
    return None, "by a derivation of its own" if looked else ZEROS


def knobs_of(entry: Entry, name: str) -> dict[str, Any]:
    """Settings that are cheap enough for a plain loop."""
    settings = dict(KNOBS.get(name, {}))
    if name == "occlusion":
        axes = max(x.ndim - 2 for x in tensors_of(entry.inputs()))
        settings["window"] = max(1, max(max(x.shape[2:], default=1) for x in tensors_of(entry.inputs())) // 2)
        if entry.reference is not None or axes == 0:
            settings.pop("filler")
    return settings | dict(entry.knobs.get(name, {}))


def judge(entry: Entry, name: str, network: Any = None, *, limit: float = LIMIT) -> Cell:
    """Run one method on one network and say what came of it.

    Parameters
    ----------
    entry
        Row.
    name
        Registered name of the method.
    network
        The entry's network, where it was made already.
    limit
        Seconds.
    """
    network = entry.make() if network is None else network
    start = time.perf_counter()

    def cell(outcome: Outcome, sentence: str, open_reason: str = "") -> Cell:
        return Cell(entry.name, name, outcome, sentence, open_reason, time.perf_counter() - start)

    try:
        with limited(limit):
            outcome, sentence, reason = _judged(entry, name, network)
    except TooSlowError as error:
        return cell("failed", f"too slow: {error}")
    return cell(outcome, sentence, reason)


def _refusal(entry: Entry, name: str, error: BaseException) -> tuple[Outcome, str, str]:
    text = str(error)
    if isinstance(error, TooSlowError):
        raise error
    if not isinstance(error, RegardError) or "expected" not in text or "\n" in text.strip():
        return "failed", f"bare {type(error).__name__}: {' '.join(text.split())[:200]}", ""
    fits = any(re.search(pattern, name) for pattern in entry.refused)
    return "refused", text, "" if fits or not _could_be_right(name, text) else text


NEVER = (
    r"no attention was met",
    r"attention of .* in windows",
    r"inputs with places; expected one",
    r"noise map of inputs without space",
)
"""Refusals that are about the method itself: a rollout of a network without attention cannot be right, for one."""


def _could_be_right(name: str, text: str) -> bool:
    return not any(re.search(pattern, text) for pattern in NEVER)


def _judged(entry: Entry, name: str, network: Any) -> tuple[Outcome, str, str]:
    method, settings = METHODS.load(name), knobs_of(entry, name)
    both = entry.inputs()
    one = cases_of(both, slice(0, 1))
    given = None if entry.reference is None else entry.reference()
    before = state_of(network)
    try:
        explainer = method(network, **settings)
    except RegardError as error:
        return _refusal(entry, name, error)
    reference = given if method.takes_reference else None
    ran = call(explainer, one, entry, reference, 1)
    changed = changed_in(before, network)
    if changed is not None:
        return "failed", f"the network was changed: {changed}", ""
    if any(not torch.equal(a, b[:1]) for a, b in zip(tensors_of(one), tensors_of(both))):
        return "failed", "the input was changed", ""
    if ran.error is not None:
        return _refusal(entry, name, ran.error)
    found = ran.found
    assert found is not None
    problems = _check_map(found, tensors_of(one))
    missing, silent = _missing(found, tuple(one) if isinstance(one, dict) else None, ran.told)
    problems += silent
    again = call(explainer, cases_of(both, slice(None)), entry, _two(reference), 2)
    if again.error is not None:
        if not isinstance(again.error, RegardError):
            return _refusal(entry, name, again.error)
        problems.append(f"two cases at once are refused: {again.error}")
    else:
        assert again.found is not None
        for n, (a, b) in enumerate(zip(again.found.relevance, found.relevance)):
            problem = _differs(a[:1].double().numpy(), b.double().numpy(), max(entry.tolerance, 1e-4))
            if problem is not None:
                problems.append(f"run again beside another case, input {n}: {problem}")
    how = None
    told_zero = problems == [ZERO] and any("0 everywhere" in t for t in ran.told)
    if not problems or told_zero:
        problem, how = _made_again(entry, name, network, explainer, found, one, reference, settings)
        if how == ZEROS:
            problems = [] if told_zero else [ZERO]
        problems += [] if problem is None else [problem]
    named = [t for t in ran.told + again.told if any(re.search(p, t) for p in entry.named)]
    if problems:
        return ("warned", named[0], "") if named else ("failed", "; ".join(problems), "")
    if missing:
        return "warned", missing[0], ""
    if how is not None and not (how == ZEROS and named):
        return "right", how, ""
    return ("warned", named[0], "") if named else ("plausible", "finite, the same again and beside another case", "")


def _two(reference: Any) -> Any:
    if reference is None:
        return None
    if isinstance(reference, dict):
        return {k: torch.cat([v, v]) for k, v in reference.items()}
    return tuple(torch.cat([v, v]) for v in reference)


@contextlib.contextmanager
def _evaluating(network: Any) -> Iterator[None]:
    """In evaluation mode, as every map is made."""
    plain = unwrap(network)
    modes = [(m, m.training) for m in plain.modules()] if isinstance(plain, nn.Module) else []
    try:
        for m, _ in modes:
            m.training = False
        yield
    finally:
        for m, training in modes:
            m.training = training


def _made_again(
    entry: Entry,
    name: str,
    network: Any,
    explainer: AbstractExplainer,
    found: Attribution,
    one: Any,
    reference: Any,
    settings: dict[str, Any],
) -> tuple[str | None, str | None]:
    """What is wrong beside what the network itself says, or how the map was made again."""
    names = tuple(one) if isinstance(one, dict) else None
    base = None if reference is None else [r[:1] for r in tensors_of(reference)]
    q = Question(entry, network, tensors_of(one), names, settings, found, base)
    with _evaluating(network), seeded_draws(3), python_warnings.catch_warnings():
        python_warnings.simplefilter("ignore")
        value = q.score(q.x)
        if abs(float(found.value.double()[0]) - value) > 10 * entry.tolerance * abs(value) + 1e-9:
            return f"f(x) is {float(found.value[0]):.6g} where the network gives {value:.6g}", None
        problem, left = _statement(found, q, explainer.quantity)
        if problem is not None:
            return problem, None
        problem, how = _derived(name, q)
    if problem is not None or how is not None:
        return problem, how
    if name in CLOSED and left is not None and left < 10 * entry.tolerance:
        return None, "it adds up to f(x) - f(reference), computed apart from it"
    return None, None
