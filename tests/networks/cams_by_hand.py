"""Class activation maps again: the layer's output by a hook, arranged by hand, and loops over channels and places."""

import re
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from reference import cam as literal
from regard.core.randomness import uniform

from .by_hand import Maps, Question, array, gradients_of_parameters_kept

MOST = 64
"""Cells or channels up to which a layer is taken apart one by one."""


@contextmanager
def _hooked(layer: nn.Module, hook: Callable[[Tensor], Tensor | None]) -> Any:
    def run(_: nn.Module, __: Any, output: Tensor) -> Tensor | None:
        return hook(output)

    handle = layer.register_forward_hook(run)
    try:
        yield
    finally:
        handle.remove()


class Layer:
    """One layer of one case: A[channel, place] and the derivative of the number there.

    Parameters
    ----------
    q
        The question.
    name
        Of the layer.
    """

    def __init__(self, q: Question, name: str) -> None:
        self.q, self.name = q, name
        network = q.network
        while hasattr(network, "_orig_mod") or isinstance(network, nn.DataParallel):
            network = network.module if isinstance(network, nn.DataParallel) else network._orig_mod
        self.module = network.get_submodule(name)
        leaves: list[Tensor] = []

        def cut(output: Tensor) -> Tensor:
            if not leaves:
                leaves.append(output.detach().clone().requires_grad_())
            return leaves[0].clone()

        with gradients_of_parameters_kept(q.network), _hooked(self.module, cut):
            # Parts that a checkpoint runs again meet the hook again; an input that asks for a gradient starts them.
            value = q.entry.score(q.run([t.clone().requires_grad_() for t in q.x])).sum()
            value.backward()
        gradient = leaves[0].grad
        self.output = leaves[0].detach()
        gradient = torch.zeros_like(self.output) if gradient is None else gradient
        self.value = float(value)
        arrange = next((f for p, f in q.entry.layouts.items() if re.search(p, name)), lambda y, n: y)
        numbers = arrange(torch.arange(self.output.numel()).reshape(self.output.shape), 1)
        self.where = numbers[0].flatten(1)
        self.size = tuple(numbers.shape[2:])
        self.batch = numbers.shape[0]
        flat, flat_gradient = self.output.double().flatten(), gradient.double().flatten()
        self.A, self.g = flat[self.where].numpy(), flat_gradient[self.where].numpy()

    def depends_on(self) -> list[bool]:
        """Whether the layer changes with each input."""

        def seen(tensors: Sequence[Tensor]) -> Tensor:
            outputs: list[Tensor] = []
            with torch.no_grad(), _hooked(self.module, lambda output: outputs.append(output.clone())):
                self.q.run(tensors)
            return outputs[0]

        before, changes = seen(self.q.x), []
        for n, t in enumerate(self.q.x):
            other = [*self.q.x[:n], t.flip(-1) * 1.3 + 0.1, *self.q.x[n + 1 :]]
            changes.append(not torch.equal(seen(other), before))
        return changes

    def tail(self, A: np.ndarray) -> float:
        """The number when the layer gives ``A`` in place of its own."""
        changed = self.output.flatten().clone()
        changed[self.where.flatten()] = torch.from_numpy(A).flatten().to(changed)
        with _hooked(self.module, lambda _: changed.reshape(self.output.shape).clone()):
            return self.q.score(self.q.x)


def _grad_cam_pp(layer: Layer) -> list[float]:
    """As the class says: the paper's weights of S less those of -S, by sizes, so that there is no pole."""
    if (layer.A >= 0).all():
        return literal.grad_cam_pp_signed(layer.A, layer.g)
    sizes = np.abs(layer.A).sum(1)
    weights = (layer.g / (2 + np.abs(layer.g) * sizes[:, None])).sum(1)
    return literal.weighted(layer.A, weights)


def _score_cam(layer: Layer) -> list[float] | None:
    q = layer.q
    if len(layer.A) > MOST or q.entry.instances:
        return None
    masked = [reached and t.ndim - 2 == len(layer.size) for t, reached in zip(q.x, layer.depends_on(), strict=True)]
    if any(t.ndim > 2 and t.ndim - 2 != len(layer.size) for t in q.x):
        return None
    fillers = [
        literal.blur(array(t), [q.knobs["filler_width"] * n for n in t.shape[2:]]) if one else array(t)
        for t, one in zip(q.x, masked, strict=True)
    ]
    base, weights = q.score(q.at(fillers)), np.zeros(len(layer.A))
    for k, row in enumerate(layer.A):
        if row.max() <= row.min():
            continue
        shown = []
        for t, filler, one in zip(q.x, fillers, masked, strict=True):
            if not one:
                shown.append(array(t))
                continue
            mask = literal.interpolate(row.reshape(layer.size), t.shape[2:])
            s = (mask - mask.min()) / (mask.max() - mask.min())
            shown.append(filler + s * (array(t) - filler))
        weights[k] = q.score(q.at(shown)) - base
    return literal.weighted(layer.A, weights)


def _ablation(layer: Layer) -> list[float] | None:
    return None if len(layer.A) > MOST else literal.ablation_cam(layer.A, layer.tail, published=False)


def _crm(layer: Layer) -> list[float] | None:
    if layer.A.shape[1] > MOST:
        return None
    return list(literal.crm_ablation(layer.A, lambda A: np.array([layer.tail(A)]))[0])


def _random(layer: Layer) -> list[float]:
    return literal.weighted(layer.A, [2 * float(u) - 1 for u in uniform((len(layer.A),), 0, "", "channel weights")])


def _eigen(layer: Layer) -> np.ndarray | None:
    """First principal component over places, by the full decomposition; None where it has no direction of its own."""
    x = (layer.g * layer.A).T
    centred = x - x.mean(0)
    if x.shape[1] > 4 * MOST:
        return None
    values, vectors = np.linalg.eigh(centred.T @ centred)
    if values[-1] <= 0 or (len(values) > 1 and values[-2] > 0.98 * values[-1]):
        return None
    out = centred @ vectors[:, -1]
    agreement = (out * x.sum(1)).sum()
    return np.abs(out) if abs(agreement) < 1e-9 * np.abs(out).sum() else out * np.sign(agreement)


COARSE: dict[str, Callable[[Layer], Any]] = {
    "grad-cam": lambda layer: layer.g.mean(1) @ layer.A,
    "grad-ram": lambda layer: layer.g.mean(1) @ layer.A,
    "hires-cam": lambda layer: (layer.g * layer.A).sum(0),
    "grad-ramp": lambda layer: (layer.g * layer.A).sum(0),
    "layer-cam": lambda layer: (layer.g.clip(0) * layer.A).sum(0),
    "grad-cam++": _grad_cam_pp,
    "eigen-grad-cam": _eigen,
    "ablation-cam": _ablation,
    "score-cam": _score_cam,
    "crm": _crm,
    "random-cam": _random,
}
"""Method -> the map on the layer's grid, by place, or None where it is not taken apart."""

SUMS = ("hires-cam", "grad-ramp")


def cam(method: str, q: Question) -> Maps | str:
    """Maps of a method; or why they are not derived."""
    names = str(q.found.notes.get("layer", "")).split(", ")
    maps: Maps = [np.full((1, *t.shape[2:]), np.nan) if t.ndim > 2 else np.full(t.shape[1], np.nan) for t in q.x]
    done = [False] * len(q.x)
    members = q.found.notes.get("members")
    parts: list[Maps] = []
    for name in names:
        if members:
            # Of a mean of networks each is asked on its own.
            member, _, name = re.match(r"(members\.\d+)(\.)(.*)", name).groups()  # type: ignore[union-attr]
            layer = Layer(replace(q, network=q.network.get_submodule(member)), name)
        else:
            layer = Layer(q, name)
        coarse = COARSE[method](layer)
        if coarse is None:
            return f"'{name}' has {layer.A.shape[0]} channels and {layer.A.shape[1]} places: not taken apart"
        coarse = np.reshape(np.asarray(coarse), layer.size)
        bring = literal.spread if method in SUMS else literal.interpolate
        own: Maps = []
        for n, (t, reached) in enumerate(zip(q.x, layer.depends_on())):
            fits = t.ndim - 2 == len(layer.size)
            if not (reached and fits):
                if t.ndim > 2 and reached and layer.batch == 1:
                    return f"'{name}' has {len(layer.size)} axes of places and the input {t.ndim - 2}"
                own.append(None)
                continue
            if q.entry.instances:
                own.append(np.stack([bring(c, t.shape[3:])[None] for c in coarse]))
            else:
                own.append(bring(coarse, t.shape[2:])[None])
            if not done[n]:
                maps[n], done[n] = own[-1], True
        parts.append(own)
    if members:
        return [np.mean([p[n] for p in parts], 0) for n in range(len(q.x))]
    return maps
