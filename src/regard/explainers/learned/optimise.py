"""The noise that one image bears, found directly: no network learns it."""

import hashlib
import io
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

from regard.core import batching
from regard.core.errors import CapabilityError, FileError, InputError
from regard.core.explainer import Query
from regard.core.rows import rows_of
from regard.core.spatial import interpolate, space
from regard.explainers.learned.probes import Change, estimate_change
from regard.io.atomic import write_bytes
from regard.io.guard import parsing
from regard.training.noising import Estimator, NoiseSettings, noise_gradient, roughness

__all__ = ["N_PROBES", "Loss", "Noised", "Optimised", "PerImage", "optimise_noise"]

logger = logging.getLogger(__name__)

Loss = Literal["squared", "segmentation"]
"""``"squared"``: (f(noisy) - y)^2 of the target; ``"segmentation"``: binary cross entropy of an output of logits."""

N_PROBES = 64
"""Draws that a change of the output is estimated from."""

_START = math.log(0.05)


@dataclass(frozen=True)
class PerImage:
    """How one image's noise is found; parameters as `regard.explainers.learned.noise_map.NoiseMap`."""

    settings: NoiseSettings = field(default_factory=NoiseSettings)
    loss: Loss = "squared"
    preserve: float | Literal["prediction"] = "prediction"
    strength: float = 0.1
    spread: float | None = None
    smoothness: float = 0.0
    cell: int = 1
    n_steps: int = 100
    n_draws: int = 2
    learning_rate: float = 0.2
    estimator: Estimator = "paired"

    @property
    def paired(self) -> bool:
        """Whether the derivative is taken by pairs of draws."""
        return self.estimator == "paired" and self.loss == "squared"


@dataclass(frozen=True)
class Optimised:
    """The noise that one image bears.

    Parameters
    ----------
    noise
        B, one map (1, 1, \\*space) per input; 0 outside the foreground, where none was added.
    inside
        Foreground (1, 1, \\*space) per input.
    weight
        Lambda, in the loss's unit.
    weight_from
        Where its scale comes from, in words.
    everywhere
        Change under the strongest noise; see `Noised.everywhere`.
    weight_error
        Standard error of lambda, where its scale is what the strongest noise changes.
    """

    noise: tuple[Tensor, ...]
    inside: tuple[Tensor, ...]
    weight: float
    weight_from: str
    everywhere: Change
    weight_error: float = 0.0


class Noised:
    """One case with noise on it: draws keyed by (seed, case, draw), and the loss that they cost.

    Parameters
    ----------
    query
        The case and the target.
    settings
        The noise.
    loss, preserve
        As `PerImage`.
    n_probes
        Draws that changes of the output are estimated from.
    by_derivative
        Whether the derivative at the image helps to estimate them, for one pass back through the network.

    Raises
    ------
    CapabilityError
        If no input has space: unlike features bear no noise of one scale.
    """

    def __init__(
        self,
        query: Query,
        settings: NoiseSettings,
        loss: Loss = "squared",
        preserve: float | Literal["prediction"] = "prediction",
        *,
        n_probes: int = N_PROBES,
        by_derivative: bool = True,
    ) -> None:
        self.n_probes = n_probes
        self._by_derivative = by_derivative and loss == "squared" and settings.family in ("gaussian", "correlated")
        self._slopes: tuple[Tensor, ...] | None = None
        self.query, self.settings, self.loss = query, settings, loss
        self.inputs = query.inputs.tensors
        if not any(space(x) for x in self.inputs):
            raise CapabilityError(
                f"a noise map of inputs without space, {[tuple(x.shape) for x in self.inputs]}",
                "an input with places, as unlike features bear no noise of one scale",
                "choose occlusion or shapley, with a reference",
            )
        self.inside = tuple(
            settings.inside(x) if space(x) else torch.zeros_like(x[:, :1], dtype=torch.bool) for x in self.inputs
        )
        self.deviations = tuple(settings.deviation(x, k) for x, k in zip(self.inputs, self.inside, strict=True))
        with torch.no_grad():
            output = query.forward([x.clone() for x in self.inputs])
            self.value = query.value(output, query.inputs.n_cases).detach()
        self.reference = self.value if preserve == "prediction" else torch.full_like(self.value, float(preserve))
        self._likely = rows_of(output, 1).detach().sigmoid() if loss == "segmentation" else None

    def disturbances(self, items: Sequence[str], numbers: Sequence[int]) -> list[Tensor]:
        """What is added at strength 1 in the draws ``items``, per input (n, channel, \\*space)."""
        key = (self.query.seed, self.query.case)
        return [
            torch.cat(
                [
                    self.settings.disturbance(x, deviation, number, *key, f"{which}/{item}")
                    for item, number in zip(items, numbers, strict=True)
                ]
            )
            for which, (x, deviation) in enumerate(zip(self.inputs, self.deviations, strict=True))
        ]

    def sigmas(self, noise: Sequence[Tensor]) -> list[Tensor]:
        """Strength of the noise for maps B, 0 outside the foreground; each (1, 1, \\*space)."""
        return [self.settings.sigma(b) * keep for b, keep in zip(noise, self.inside, strict=True)]

    def losses(self, noisy: list[Tensor]) -> Tensor:
        """Loss of each item, where it is no square of the target's change."""
        assert self._likely is not None
        logits = rows_of(self.query.forward(noisy), len(noisy[0]))
        likely = self._likely.expand_as(logits)
        return functional.binary_cross_entropy_with_logits(logits, likely, reduction="none").flatten(1).mean(1)

    def derivative(
        self, noise: Sequence[Tensor], step: int, n_draws: int, *, paired: bool
    ) -> tuple[float, tuple[Tensor, ...]]:
        """Mean loss over the draws of one step, and its derivative by B per input (1, 1, \\*space)."""
        sigmas = self.sigmas(noise)
        # Kept in double precision, draw by draw, so that the batch makes no difference.
        totals = [torch.zeros_like(b, dtype=torch.float64) for b in noise]
        losses: list[float] = []
        squared = self.loss == "squared"
        width = self.settings.s_max - self.settings.s_min

        def evaluate(items: range) -> tuple[Tensor, tuple[Tensor, ...]]:
            n, numbers = len(items), [step * n_draws + k for k in items]
            drawn = self.disturbances([f"{step}/{k}" for k in items], numbers)
            wide = [s.expand(n, *s.shape[1:]) for s in sigmas]

            def covariance(which: int, values: Tensor) -> Tensor:
                deviation = self.deviations[which]
                parts = [
                    self.settings.covariance(values[k : k + 1], deviation, number) for k, number in enumerate(numbers)
                ]
                return torch.cat(parts)

            functions = [lambda v, which=which: covariance(which, v) for which in range(len(self.inputs))]
            return noise_gradient(
                self.query.score if squared else self.losses,
                [x.expand(n, *x.shape[1:]) for x in self.inputs],
                wide,
                drawn,
                self.reference.expand(n) if squared else None,
                functions if paired else None,
                network=self.query.network,
            )

        def add(items: range, result: tuple[Tensor, tuple[Tensor, ...]]) -> None:
            losses.extend(result[0].double().tolist())
            for total, part in zip(totals, result[1], strict=True):
                for k in range(len(items)):
                    total += part[k : k + 1].double() * (width / n_draws)

        with batching.reporting(None):
            at_once = self.query.items_at_once(n_draws, backward=True)
            batching.run(evaluate, n_draws, add, batch_size=at_once)
        return sum(losses) / n_draws, tuple(totals)

    @torch.no_grad()
    def changes(self, noise: Sequence[Tensor], label: str, n_draws: int | None = None) -> Tensor:
        """f(noisy) - f(clean) in fresh draws, (n_draws,), float64; of ``"segmentation"`` the loss above that at x."""
        sigmas, found = self.sigmas(noise), []
        n_draws = self.n_probes if n_draws is None else n_draws

        def evaluate(items: range) -> Tensor:
            drawn = self.disturbances([f"{label}/{k}" for k in items], list(items))
            noisy = [x + s.to(x) * eta for x, s, eta in zip(self.inputs, sigmas, drawn, strict=True)]
            if self.loss == "squared":
                return self.query.score(noisy).double() - self.value.double()
            return self.losses(noisy).double() - self.losses([x.clone() for x in self.inputs]).double()

        with batching.reporting(None):
            size = self.query.items_at_once(n_draws)
            batching.run(evaluate, n_draws, lambda _, values: found.append(values), batch_size=size)
        return torch.cat(found)

    def change(self, noise: Sequence[Tensor], label: str) -> Change:
        """Mean and mean square of f(noisy) - f(clean) in fresh draws, with their errors.

        For normal noise the derivative at the image serves as a control: what it says of each draw is known to have
        the mean 0 and the mean square g . C g.
        """
        changes = self.changes(noise, label)
        if not self._by_derivative:
            return estimate_change(changes)
        if self._slopes is None:
            self._slopes = self.query.gradient(self.inputs)[1]
        linear, expected = torch.zeros_like(changes), torch.zeros_like(changes)
        sigmas = self.sigmas(noise)
        for k in range(len(changes)):
            drawn = self.disturbances([f"{label}/{k}"], [k])
            for g, s, eta, deviation in zip(self._slopes, sigmas, drawn, self.deviations, strict=True):
                scaled = (g * s.to(g)).double()
                linear[k] += (scaled * eta.double()).sum()
                expected[k] += (scaled * self.settings.covariance(scaled, deviation.double(), k)).sum()
        return estimate_change(changes, linear, expected)

    def everywhere(self) -> Change:
        """Change under the strongest noise, B = 1 at every place of the foreground."""
        return self.change([k.to(x) for x, k in zip(self.inputs, self.inside, strict=True)], "everywhere")

    def weight(self, strength: float, spread: float | None, everywhere: Change) -> tuple[float, float, str]:
        """Lambda, its standard error, and where its scale comes from.

        The scale is ``spread``, or what the strongest noise changes in this case.
        """
        if spread is not None:
            return strength * spread**2, 0.0, f"the stated spread {spread:g}"
        own, error = everywhere.mean_square, everywhere.mean_square_error
        if self.loss != "squared":
            own, error = everywhere.mean, everywhere.mean_error
        return strength * max(0.0, own), strength * error, "what the strongest noise changes in this case"


def optimise_noise(query: Query, how: PerImage, *, checkpoint: str | Path | None = None, every: int = 25) -> Optimised:
    """Find the map B that minimises E (f(x + sigma(B) noise) - y)^2 - lambda mean log B.

    Adam on log B from log 0.05 on, projected to B <= 1 after each step. On the logit of B, as a network has it, places
    whose optimum is 1 or near it come to a halt: its derivative vanishes there.

    Parameters
    ----------
    query
        One case and its target; a network that gradients pass through.
    how
        The settings.
    checkpoint
        File that the state is stored in every so many steps, whole or not at all; where it exists, the optimisation
        goes on from there, to the same bits as without the interruption.
    every
        Steps between two states.

    Raises
    ------
    FileError
        If the checkpoint is not one, or belongs to other settings or another case.
    """
    how.settings.check(how.estimator if how.loss == "squared" else "pathwise")
    noised = Noised(query, how.settings, how.loss, how.preserve)
    everywhere = noised.everywhere()
    weight, weight_error, weight_from = noised.weight(how.strength, how.spread, everywhere)
    kinds = [torch.promote_types(x.dtype, torch.float32) for x in noised.inputs]
    rounding = 8 * torch.finfo(noised.value.dtype).eps * float(noised.value.abs())
    if everywhere.rms <= rounding or weight <= 0:
        # The strongest noise costs nothing: it is the optimum, and Adam would only come near it.
        full = tuple(k.to(kind) for k, kind in zip(noised.inside, kinds, strict=True))
        return Optimised(full, noised.inside, weight, weight_from, everywhere, weight_error)
    cells = [[-(-n // how.cell) for n in space(x)] for x in noised.inputs]
    leaves = [
        torch.full((1, 1, *cell), _START, dtype=kind, device=x.device, requires_grad=True)
        for x, cell, kind in zip(noised.inputs, cells, kinds, strict=True)
    ]
    adam = torch.optim.Adam(leaves, how.learning_rate, betas=(0.9, 0.99), eps=1e-12)
    path = None if checkpoint is None else Path(checkpoint)
    key = _key(query, how)
    start = 0 if path is None else _restore(path, key, leaves, adam)
    n_places = sum(int(k.sum()) for k in noised.inside)
    progress = batching.current_progress()
    for step in range(start, how.n_steps):
        for group in adam.param_groups:
            group["lr"] = how.learning_rate * 0.5 * (1 + math.cos(math.pi * step / how.n_steps))
        logs = _on_inputs(leaves, noised)
        noise = [v.exp() for v in logs]
        slopes = noised.derivative([b.detach() for b in noise], step, how.n_draws, paired=how.paired)[1]
        # The whole loss times n / lambda, so that a place's derivative is of the size of 1.
        total = sum(
            (slope.to(b) * b * keep).sum() * (n_places / weight)
            - (v * keep).sum()
            + (how.smoothness * roughness(b, keep).sum() * keep.sum() if bool(keep.any()) else 0.0)
            for slope, b, v, keep in zip(slopes, noise, logs, noised.inside, strict=True)
        )
        adam.zero_grad()
        grads = torch.autograd.grad(total, leaves)  # type: ignore[arg-type]
        for leaf, grad in zip(leaves, grads, strict=True):
            leaf.grad = grad
        adam.step()
        with torch.no_grad():
            for leaf in leaves:
                leaf.clamp_(max=0)
        if progress is not None:
            progress("noise-map", step + 1, how.n_steps)
        if path is not None and ((step + 1) % every == 0 or step + 1 == how.n_steps):
            _store(path, key, step + 1, leaves, adam)
    with torch.no_grad():
        logs = _on_inputs(leaves, noised)
        found = tuple(torch.where(k, v.exp(), 0.0) for v, k in zip(logs, noised.inside, strict=True))
    return Optimised(found, noised.inside, weight, weight_from, everywhere, weight_error)


def _on_inputs(leaves: Sequence[Tensor], noised: Noised) -> list[Tensor]:
    return [interpolate(v, space(x)) for v, x in zip(leaves, noised.inputs, strict=True)]


def _key(query: Query, how: PerImage) -> str:
    """What a stored state belongs to: settings, draws and intensities."""
    said = hashlib.sha256(repr((how, query.seed, query.case)).encode())
    for x in query.inputs.tensors:
        said.update(x.detach().cpu().double().numpy().tobytes())
    return said.hexdigest()


def _store(path: Path, key: str, step: int, leaves: Sequence[Tensor], adam: torch.optim.Adam) -> None:
    content = io.BytesIO()
    state: dict[str, Any] = {"key": key, "step": step, "leaves": [v.detach() for v in leaves]}
    torch.save({**state, "adam": adam.state_dict()}, content)
    write_bytes(path, content.getvalue())


def _restore(path: Path, key: str, leaves: Sequence[Tensor], adam: torch.optim.Adam) -> int:
    """Take up a stored state, if there is one; the step to go on with."""
    if not path.exists():
        return 0
    try:
        found = torch.load(path, map_location=leaves[0].device, weights_only=True)
        stored, step, values, state = found["key"], int(found["step"]), found["leaves"], found["adam"]
    except Exception as error:
        # A broken archive fails in a different way at each byte.
        raise FileError(
            f"{path}, which is no state of a noise map ({type(error).__name__})", "one that was stored", "remove it"
        ) from error
    if stored != key:
        raise FileError(
            f"{path}, the state of another noise map", "the same case and settings", "give each its own file"
        )
    with parsing(path, "state of a noise map", do="remove it"):
        with torch.no_grad():
            for leaf, value in zip(leaves, values, strict=True):
                leaf.copy_(value)
        adam.load_state_dict(state)
    logger.info("going on with %s at step %d", path, step)
    return step


def read_preserve(value: object) -> float | Literal["prediction"]:
    """Read the knob ``preserve``: the model's own prediction, or a label in output units.

    Raises
    ------
    InputError
        If it is neither.
    """
    if value == "prediction":
        return "prediction"
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise InputError(f"preserve={value!r}", "prediction, or the label as a number in output units")
    return float(value)
