"""Maps again, by plain loops on the network itself: nothing here runs through a method of Regard.

A derivation takes a `Question` and gives one map per input, (channel or 1, \\*space) in float64, or None for an input
of which it says nothing; NaN where nothing is known. What Regard shares out by a key (random draws, superpixels) is
taken from there; the formula is not.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from reference import cam as literal
from regard.core import randomness
from regard.core.explainer import Attribution
from regard.explainers.perturbation.segments import supervoxels

from .entry import Entry

Maps = list[np.ndarray | None]

KNOBS: dict[str, dict[str, Any]] = {
    "integrated-gradients": {"n_steps": 5},
    "expected-gradients": {"n_samples": 4, "tolerance": None},
    "smoothgrad": {"n_samples": 4, "tolerance": None},
    "lam": {"n_steps": 3, "sigma": 1.5},
    "rise": {"n_masks": 12, "cells": 2, "tolerance": None, "filler": "mean"},
    "lime": {"n_segments": 4, "n_samples": 16, "ridge": 0.3, "kernel_width": 0.4},
    "shapley-exact": {"n_parts": 3},
    "kernel-shap": {"n_parts": 3, "n_samples": 64},
    "shapley": {"n_segments": 3, "n_samples": 2, "tolerance": None},
    "noise-map": {"n_steps": 3, "n_draws": 2},
    "occlusion": {"filler": "mean"},
    "score-cam": {"filler_width": 0.2},
}
"""Settings under which a map is cheap enough to be made again by loops."""


@contextmanager
def gradients_of_parameters_kept(network: Any) -> Iterator[None]:
    """What a backward pass leaves in the parameters is taken away again."""
    parameters = list(network.parameters()) if isinstance(network, nn.Module) else []
    kept = [p.grad for p in parameters]
    try:
        yield
    finally:
        for p, grad in zip(parameters, kept, strict=True):
            p.grad = grad


@dataclass
class Question:
    """One case of one network.

    Parameters
    ----------
    entry
        Its row.
    network
        The network, in evaluation mode.
    x
        The case, one tensor (1, channel, \\*space) or (1, feature) per input.
    names
        Names of inputs that are given by name.
    knobs
        Of the method.
    found
        What the method gave, for its notes.
    reference
        What was given as reference, one tensor per input, or None.
    """

    entry: Entry
    network: Any
    x: list[Tensor]
    names: tuple[str, ...] | None
    knobs: dict[str, Any]
    found: Attribution
    reference: list[Tensor] | None = None
    extra: dict[str, Any] = field(default_factory=dict)

    def run(self, tensors: Sequence[Tensor]) -> Any:
        """The network's output."""
        given = [t.clone() for t in tensors]
        return self.network(*given) if self.names is None else self.network(**dict(zip(self.names, given)))

    def score(self, tensors: Sequence[Tensor]) -> float:
        """The number that is explained, of one case."""
        with torch.no_grad():
            return float(self.entry.score(self.run(tensors)).double()[0])

    def gradient(self, tensors: Sequence[Tensor]) -> list[np.ndarray]:
        """Its derivative with respect to each input, (channel, \\*space)."""
        leaves = [t.detach().clone().requires_grad_() for t in tensors]
        with gradients_of_parameters_kept(self.network):
            # Not `autograd.grad`, which a part that is checkpointed by the older way refuses.
            self.entry.score(self.run(leaves)).sum().backward()
        return [array(torch.zeros_like(t) if t.grad is None else t.grad) for t in leaves]

    def start(self) -> list[Tensor]:
        """What contributions are compared with: what was given, or the smallest value of each channel."""
        if self.reference is not None:
            return self.reference
        return [t.flatten(2).amin(2).reshape(*t.shape[:2], *[1] * (t.ndim - 2)).expand_as(t) if t.ndim > 2 else t
                for t in self.x]  # fmt: skip

    def at(self, arrays: Sequence[np.ndarray]) -> list[Tensor]:
        """Arrays as tensors of the inputs' own type."""
        return [torch.from_numpy(np.array(a))[None].to(t) for a, t in zip(arrays, self.x)]

    def unknown_without_space(self, maps: list[np.ndarray]) -> Maps:
        """NaN for inputs without space, which nothing was compared with unless a reference was given."""
        if self.reference is not None:
            return list(maps)
        return [np.full_like(m, np.nan) if t.ndim == 2 else m for m, t in zip(maps, self.x)]


def array(t: Tensor) -> np.ndarray:
    """One case as float64 (channel, \\*space)."""
    return t.detach()[0].double().cpu().numpy()


def gradient(q: Question) -> Maps:
    """Derivative of the number."""
    return list(q.gradient(q.x))


def input_x_gradient(q: Question) -> Maps:
    """Derivative times the difference to the reference, or to 0."""
    starts = [torch.zeros_like(t) for t in q.x] if q.reference is None else q.reference
    return [g * (array(a) - array(b)) for g, a, b in zip(q.gradient(q.x), q.x, starts)]


def integrated_gradients(q: Question) -> Maps:
    """Sundararajan 2017, eq. 1, by the Gauss-Legendre rule."""
    ends, starts = [array(t) for t in q.x], [array(t) for t in q.start()]
    totals = [np.zeros_like(e) for e in ends]
    for node, weight in zip(*np.polynomial.legendre.leggauss(q.knobs["n_steps"])):
        middle = q.at([s + (node + 1) / 2 * (e - s) for s, e in zip(starts, ends)])
        for total, g, s, e in zip(totals, q.gradient(middle), starts, ends):
            total += weight / 2 * (e - s) * g
    return q.unknown_without_space(totals)


def expected_gradients(q: Question) -> Maps:
    """Erion 2021, eq. 3, over the places that the keys give, from one reference."""
    ends, starts = [array(t) for t in q.x], [array(t) for t in q.start()]
    totals, n = [np.zeros_like(e) for e in ends], q.knobs["n_samples"]
    for draw in range(n):
        share = torch.rand(2, generator=randomness.generator(0, "", draw)).double().tolist()[1]
        middle = q.at([s + share * (e - s) for s, e in zip(starts, ends)])
        for total, g, s, e in zip(totals, q.gradient(middle), starts, ends):
            total += (e - s) * g / n
    return q.unknown_without_space(totals)


def smoothgrad(q: Question) -> Maps:
    """Smilkov 2017, section 3.1: mean derivative at images with noise of a tenth of their range."""
    totals, n = [np.zeros_like(array(t)) for t in q.x], q.knobs["n_samples"]
    for draw in range(n):
        noisy = []
        for which, t in enumerate(q.x):
            noise = torch.randn(t.shape, generator=randomness.generator(0, "", f"{which}/{draw}")).to(t)
            noisy.append(t + 0.1 * float(t.max() - t.min()) * noise if t.ndim > 2 else t)
        for total, g in zip(totals, q.gradient(noisy)):
            total += g / n
    return [np.full_like(m, np.nan) if t.ndim == 2 else m for m, t in zip(totals, q.x)]


def lam(q: Question) -> Maps:
    """Gu and Dong 2021, eqs. 5 to 8, the derivative in the middle of each step."""
    n, sigma = q.knobs["n_steps"], q.knobs["sigma"]

    def at(share: float) -> list[np.ndarray]:
        width = sigma * (1 - share)
        return [literal.blur(array(t), [width] * (t.ndim - 2)) if width > 0 and t.ndim > 2 else array(t) for t in q.x]

    totals = [np.zeros_like(array(t)) for t in q.x]
    for step in range(n):
        before, middle, after = (at((step + part) / n) for part in (0, 0.5, 1))
        for total, g, a, b in zip(totals, q.gradient(q.at(middle)), before, after):
            total += (b - a) * g
    return [np.full_like(m, np.nan) if t.ndim == 2 else m for m, t in zip(totals, q.x)]


def guided(q: Question) -> Maps | None:
    """Springenberg 2015, section 3.4, by a hook on each rectifier module; None where a rectifier is a function."""
    rectifiers = [m for m in q.network.modules() if isinstance(m, nn.ReLU)] if isinstance(q.network, nn.Module) else []
    calls, in_place = [0], [m.inplace for m in rectifiers]

    def stop(m: nn.Module, args: Any, output: Tensor) -> None:
        calls[0] += 1
        if output.requires_grad:
            output.register_hook(lambda g: g.clamp(min=0))

    handles = [m.register_forward_hook(stop) for m in rectifiers]
    try:
        for m in rectifiers:
            m.inplace = False
        maps = q.gradient(q.x)
    finally:
        for m, flag in zip(rectifiers, in_place):
            m.inplace = flag
        for handle in handles:
            handle.remove()
    return list(maps) if calls[0] == q.found.notes.get("n_guided") else None


def _hidden(q: Question, which: int, filled: np.ndarray) -> float:
    arrays = [array(t) for t in q.x]
    arrays[which] = filled
    return q.score(q.at(arrays))


def _fill(q: Question, which: int, *, named: bool) -> np.ndarray:
    """What stands where something is hidden: the reference where one is given and no filler is named, or the mean."""
    x = array(q.x[which])
    if q.reference is not None and not named:
        return array(q.reference[which])
    return np.broadcast_to(x.reshape(len(x), -1).mean(1).reshape(-1, *[1] * (x.ndim - 1)), x.shape)


def _features(q: Question, which: int, fill: np.ndarray | None) -> np.ndarray:
    """Each feature filled alone; NaN where nothing fills it."""
    x = array(q.x[which])
    if fill is None:
        return np.full_like(x, np.nan)
    effects = np.zeros_like(x)
    for k in range(len(x)):
        other = x.copy()
        other[k] = fill[k]
        effects[k] = q.score(q.x) - _hidden(q, which, other)
    return effects


def occlusion(q: Question) -> Maps:
    """Zeiler and Fergus 2014, section 4.2: windows of an eighth of each axis or as asked, every half of it."""
    named = "filler" in q.knobs
    value, maps = q.score(q.x), []
    for which, t in enumerate(q.x):
        x = array(t)
        if t.ndim == 2:
            given = None if q.reference is None or named else array(q.reference[which])
            maps.append(_features(q, which, given))
            continue
        fill, size = _fill(q, which, named=named), x.shape[1:]
        asked = q.knobs.get("window")
        window = [max(1, n // 8) if asked is None else min(asked, n) for n in size]
        total, count, along = np.zeros(size), np.zeros(size), []
        for n, w in zip(size, window):
            starts = list(range(0, n - w + 1, max(1, w // 2)))
            along.append(starts if starts[-1] + w == n else [*starts, n - w])
        for corner in itertools.product(*along):
            box = tuple(slice(c, c + w) for c, w in zip(corner, window))
            other = x.copy()
            other[(slice(None), *box)] = fill[(slice(None), *box)]
            total[box] += value - _hidden(q, which, other)
            count[box] += 1
        maps.append((total / count)[None])
    return maps


def rise(q: Question) -> Maps | None:
    """Petsiuk 2018, section 3.2, and the slope of the number on the mask at each place."""
    maps: Maps = []
    for which, t in enumerate(q.x):
        x = array(t)
        if t.ndim == 2:
            maps.append(np.full_like(x, np.nan) if q.reference is None or q.knobs.get("filler") == "mean" else None)
            continue
        size, fill, masks, values = x.shape[1:], _fill(q, which, named=True), [], []
        grid = [min(q.knobs["cells"], n) for n in size]
        steps = [math.ceil(n / g) for n, g in zip(size, grid)]
        for draw in range(q.knobs["n_masks"]):
            key = f"{which}/{draw}"
            shown = (torch.rand(grid, generator=randomness.generator(0, "", key)) < 0.5).double().numpy()
            shifts = torch.rand(len(size), generator=randomness.generator(0, "", f"{key}/shift")).tolist()
            wide = literal.interpolate(shown, [(g + 1) * s for g, s in zip(grid, steps)])
            mask = wide[tuple(slice(int(u * s), int(u * s) + n) for u, s, n in zip(shifts, steps, size))]
            masks.append(mask)
            values.append(_hidden(q, which, fill + mask * (x - fill)))
        m = np.stack(masks) - np.mean(masks, 0)
        v = np.array(values) - np.mean(values)
        spread = (m**2).sum(0)
        maps.append(np.where(spread > 0, np.tensordot(v, m, 1) / np.where(spread > 0, spread, 1), 0)[None])
    return maps


def lime(q: Question) -> Maps:
    """Ribeiro 2016, eqs. 1 and 2, with a ridge, by the normal equations."""
    n, ridge, width = q.knobs["n_samples"], q.knobs["ridge"], q.knobs["kernel_width"]
    maps: Maps = []
    for which, t in enumerate(q.x):
        x = array(t)
        if t.ndim == 2 and q.reference is None:
            maps.append(np.full_like(x, np.nan))
            continue
        segments = supervoxels(t, q.knobs["n_segments"]).numpy() if t.ndim > 2 else np.arange(len(x))
        fill, m = _fill(q, which, named=False), int(segments.max()) + 1
        rows, values, weights = [], [], []
        for draw in range(n):
            z = np.ones(m)
            if draw:
                drawn = torch.rand(m, generator=randomness.generator(0, "", f"{which}/{draw}"))
                z = (drawn < 0.5).double().numpy()
            values.append(_hidden(q, which, np.where(z[segments] > 0, x, fill)))
            cosine = math.sqrt(z.sum() / m)
            rows.append(np.append(z, 1.0))
            weights.append(math.exp(-((1 - cosine) ** 2) / width**2))
        table, w = np.array(rows), np.array(weights)
        normal = (table * w[:, None]).T @ table
        centred = table[:, :m] - (w / w.sum()) @ table[:, :m]
        normal[np.arange(m), np.arange(m)] += ridge * np.mean(w @ centred**2)
        solution = np.linalg.lstsq(normal, (table * w[:, None]).T @ np.array(values), rcond=None)[0]
        effects = solution[:m][segments]
        maps.append(effects[None] if t.ndim > 2 else effects)
    return maps


def shapley(q: Question) -> Maps | None:
    """Mean over all orders of what each part adds (Shapley 1953)."""
    labels, n = [], 0
    for t in q.x:
        own = supervoxels(t, q.knobs["n_parts"]).numpy() if t.ndim > 2 else np.arange(t.shape[1])
        labels.append(own + n)
        n += int(own.max()) + 1
    if n > 6:
        return None
    ends, starts = [array(t) for t in q.x], [array(t) for t in q.start()]

    def worth(members: frozenset[int]) -> float:
        if members not in q.extra:
            inside = [np.isin(own, list(members)) for own in labels]
            q.extra[members] = q.score(q.at([np.where(i, e, s) for i, e, s in zip(inside, ends, starts)]))
        return q.extra[members]

    gains = np.zeros(n)
    for order in itertools.permutations(range(n)):
        for turn, player in enumerate(order):
            gains[player] += worth(frozenset(order[: turn + 1])) - worth(frozenset(order[:turn]))
    gains /= math.factorial(n)
    counts = np.bincount(np.concatenate([own.ravel() for own in labels]), minlength=n)
    shares = [(gains / counts)[own] for own in labels]
    return q.unknown_without_space([s[None] if t.ndim > 2 else s for s, t in zip(shares, q.x)])


DERIVATIONS: dict[str, Callable[[Question], Maps | None]] = {
    "gradient": gradient,
    "input-x-gradient": input_x_gradient,
    "integrated-gradients": integrated_gradients,
    "expected-gradients": expected_gradients,
    "smoothgrad": smoothgrad,
    "lam": lam,
    "guided-backpropagation": guided,
    "occlusion": occlusion,
    "rise": rise,
    "lime": lime,
    "shapley-exact": shapley,
    "kernel-shap": shapley,
}
"""Method -> its maps again."""
