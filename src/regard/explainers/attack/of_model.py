"""A model and a scan attacked: budgets in the scan's own intensities, images and maps on the scan's grid."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from regard.core import randomness, recording
from regard.core.errors import InputError
from regard.core.geometry import resample
from regard.core.quantity import Quantity
from regard.core.recording import Network
from regard.core.rows import target_values
from regard.core.spatial import n_space
from regard.core.target import AbstractTarget, Logit, Probability, TargetLike
from regard.core.volume import Volume
from regard.explainers.attack.ball import Bounds, Norm, read_bounds, scaled_to
from regard.explainers.attack.engine import attack
from regard.explainers.attack.result import AttackResult, Attempt
from regard.explainers.attack.settings import AttackPlan, Intensities
from regard.explainers.generative.of_model import CaseFunction
from regard.explainers.of_case import fitted
from regard.explainers.spec import MethodSpec
from regard.models.binding import bind_target, unit_of
from regard.models.case import PreparedCase, prepare_case
from regard.models.model import Model

__all__ = ["N_NOISE", "AttackedCase", "attack_case", "intensities_of", "moved_by_noise"]

N_NOISE = 8
"""Draws of noise that a tolerance is taken from, where none is given."""


@dataclass(frozen=True, eq=False)
class AttackedCase:
    """What came of an attack on a model at one scan, and the way home.

    Parameters
    ----------
    result
        Attempts on the network's grid, in the scan's intensities.
    model, prepared, target
        What was attacked.
    quantities
        What the numbers of each method's map are, by label.
    """

    result: AttackResult
    model: Model
    prepared: PreparedCase
    target: AbstractTarget
    quantities: Mapping[str, Quantity]

    def scan(self, attempt: Attempt) -> Volume:
        """The attacked scan on its own grid: the scan plus the change, interpolated where the grids differ."""
        posed = CaseFunction(self.prepared, self.target)
        return posed.sample(attempt.image[0] - posed.image[0])

    def maps(self, attempt: Attempt) -> tuple[Volume, Volume]:
        """The method's maps before and after on the scan's grid."""
        part, quantity = self.prepared.parts[0], self.quantities[attempt.method]

        def home(relevance: Tensor) -> Volume:
            placed = part.to_space(relevance, quantity)
            # The scale of several channels is one of each: the map has been summed over them.
            return part.scan.with_tensor(part.bring_home(placed[:1], quantity)[0].float().cpu())

        return home(attempt.map_before), home(attempt.map_after)

    def value_of_scan(self, attempt: Attempt) -> float:
        """The target's value of the attacked scan, prepared anew as any other scan.

        It differs from the attempt's where the grids differ, or where the preparing follows the image: its mean,
        deviation or quantiles, which were held fixed while the scan was attacked.
        """
        first = self.model.card.inputs[0].name
        scans = {s.name: p.scan for s, p in zip(self.model.card.inputs, self.prepared.parts, strict=True)}
        again = prepare_case(self.model, {**scans, first: self.scan(attempt)})
        with recording.intact(again.network) as network, torch.no_grad():
            output = again.inputs.call(network, again.inputs.tensors)
            return float(target_values(self.target, output, 1, n_space(again.inputs.tensors[0]))[0])


def intensities_of(model: Model, prepared: PreparedCase, bounds: Bounds | None = None) -> Intensities:
    """How a prepared case's first input depends on the scan's intensities.

    Parameters
    ----------
    model
        Its card gives the range: grey levels, or the window that intensities are clipped to.
    prepared
        The case.
    bounds
        Range of the intensities; by default the card's, or else the image's own.

    Raises
    ------
    InputError
        If the input does not depend on intensities by one line.
    """
    part, spec = prepared.parts[0], model.card.inputs[0]
    if part.prepared is None:
        raise InputError("a case whose preparation is part of the network", "the network alone", "prepare it first")
    known = spec.window if spec.levels is None else spec.levels
    values = part.scan.tensor
    whole = bool((values == values.round()).all())
    return Intensities(
        part.prepared.scale.flatten(), part.prepared.shift.flatten(),
        bounds or (None if known is None else (float(known[0]), float(known[1]))),
        part.unit, 1.0 if whole else None,
    )  # fmt: skip


def moved_by_noise(
    prepared: PreparedCase, target: AbstractTarget, intensities: Intensities, budget: float, norm: Norm, *, seed: int,
    case: str,
) -> float:  # fmt: skip
    """How far noise of an attack's size moves a number, the furthest of `N_NOISE` draws: what an attack has to beat.

    Signs of one size for ``"inf"``, a normal direction for ``"2"``; of a number that noise does not move at all, a
    millionth of it.
    """
    x = prepared.inputs.tensors[0]
    image = intensities.image(x).double()
    scale, _ = intensities.constants(x)
    bounds = read_bounds(intensities.bounds, image)

    def value(network: Network, change: Tensor | float) -> float:
        first = (x.double() + scale * change).to(x)
        output = prepared.inputs.call(network, (first, *prepared.inputs.tensors[1:]))
        return float(target_values(target, output, 1, n_space(x))[0])

    with recording.intact(prepared.network) as network, torch.no_grad():
        still, moved = value(network, 0.0), [0.0]
        for draw in range(N_NOISE):
            drawn = randomness.normal(image, seed, case, f"noise that a tolerance is taken from/{draw}").to(image)
            direction = drawn.sign() if norm == "inf" else drawn
            change = scaled_to(direction, image, budget, norm, bounds)
            if change is not None:
                moved.append(abs(value(network, change) - still))
    return max(max(moved), 1e-6 * max(1.0, abs(still)))


def attack_case(
    model: Model,
    scans: Volume | Mapping[str, Volume],
    method: MethodSpec,
    plan: AttackPlan,
    *,
    target: TargetLike = None,
    layer: str | None = None,
    surrogate: MethodSpec | None = None,
    seen_by: Sequence[MethodSpec] = (),
    towards: Volume | None = None,
    bounds: Bounds | None = None,
    seed: int = 0,
    case: str = "case",
) -> AttackedCase:
    """Attack a method's map of a model at one scan.

    Parameters are those of `regard.explain` and of `regard.explainers.attack.attack`, and so as many.

    Parameters
    ----------
    model
        A model with its card, from `regard.load_model`.
    scans
        The scan, or one for each input by name; the first is changed.
    method
        The method.
    plan
        What is asked for; budgets in the scan's intensities.
    target
        What is explained; by default the output, when it is one scalar.
    layer
        Layer of CAM methods, by default the card's.
    surrogate
        The method that the steps follow, where gradients do not pass through the attacked one.
    seen_by
        Other methods that look at the same images.
    towards
        What the map is to become, on any grid.
    bounds
        Range of the intensities; by default the card's grey levels or window, or else the image's own.
    seed, case
        Key of all draws.

    Raises
    ------
    InputError
        If something does not fit the case.
    """
    given = scans if isinstance(scans, Mapping) else {model.card.inputs[0].name: scans}
    prepared = prepare_case(model, given)
    with recording.intact(prepared.network) as network, torch.no_grad():
        goal = bind_target(model, target, prepared.inputs.call(network, prepared.inputs.tensors), prepared)
    intensities = intensities_of(model, prepared, bounds)
    unit, kept_within = unit_of(model.card.output, goal), []
    if plan.tolerance is None and not isinstance(goal, (Logit, Probability)):
        largest = max(plan.budgets)
        tolerance = moved_by_noise(prepared, goal, intensities, largest, plan.norm, seed=seed, case=case)
        plan = replace(plan, tolerance=tolerance)
        noise = f"noise of {largest:g} {intensities.unit} moves it at most in {N_NOISE} draws"
        kept_within.append(f"the prediction counts as kept within {tolerance:.3g} {unit}: as far as {noise}")
    built = {
        spec.label: fitted(spec, prepared).build(prepared.network, layer=layer or model.card.layer)
        for spec in (method, *seen_by, *([surrogate] if surrogate is not None else []))
    }
    wanted = None
    if towards is not None:
        part = prepared.parts[0]
        assert part.prepared is not None
        wanted = part.prepared.to_network(resample(towards, part.grid, order=1).tensor[:1].float())
    result = attack(
        built[method.label], prepared.inputs.rebuild(prepared.inputs.tensors), goal, plan, intensities=intensities,
        towards=wanted, surrogate=None if surrogate is None else built[surrogate.label],
        seen_by={s.label: built[s.label] for s in seen_by}, seed=seed, case=case, label=method.label,
    )  # fmt: skip
    followed = method if surrogate is None else surrogate
    named = [replace(a, prediction_unit=unit, attacked=followed.label) for a in result.attempts]
    told = AttackResult(tuple(named), (*prepared.warnings, *kept_within, *result.warnings))
    return AttackedCase(told, model, prepared, goal, {k: e.meaning[0] for k, e in built.items()})
